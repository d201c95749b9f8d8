//! A store in a file belongs to one gateway at a time.
//!
//! So whatever the file says of leases is of a gateway that is gone, and need not be waited for. A
//! store on a server is shared, and its leases run out by themselves.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{Result, Store, StoreError, StoreUrl};

/// The file is ours for as long as this lives.
#[derive(Debug)]
#[must_use = "another gateway may take the store once this is dropped"]
pub(crate) struct Alone {
    _lock: Option<File>,
}

impl Store {
    /// Takes a store in a file for this process; a store on a server is not asked.
    ///
    /// # Errors
    ///
    /// [`StoreError::Taken`] when another gateway has it.
    pub(crate) async fn take(&self, url: &StoreUrl) -> Result<Alone> {
        let Some(file) = url.file()? else { return Ok(Alone { _lock: None }) };
        let lock = lock(&file)?;
        sqlx::query("UPDATE threads SET lease_owner = '', lease_until_ms = 0")
            .execute(&self.pool)
            .await?;
        Ok(Alone { _lock: Some(lock) })
    }
}

fn lock(file: &Path) -> Result<File> {
    let mut name = OsString::from(file);
    name.push(".lock");
    let path = PathBuf::from(name);
    let unusable = |source| StoreError::Folder { folder: path.display().to_string(), source };
    let mut new = OpenOptions::new();
    let lock = new.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = lock.map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Taken { place: file.display().to_string() })
        }
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}
