//! FILES of a project: what is put there has its digest for a name, and what comes from there is held
//! against it.
//!
//! Nothing is ever replaced or taken away: a runner may not, and needs not. It decides nothing about
//! what a file is for.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_nats::jetstream::object_store::{
    self, GetErrorKind, ObjectMetadata, ObjectStore, PutErrorKind,
};
use platform::nats::is_absent;
use schemas::carried::File;
use schemas::ids::ProjectName;
use schemas::streams;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Bus, REQUEST_TIMEOUT, Result, request};

/// How long a file may take on its way,
const FILE_WAIT: Duration = Duration::from_secs(30);
/// and for each so many bytes of it a second more: a slow line.
const PACE: u64 = 512 * 1024;
/// How much is read and written at once.
const STEP: usize = 128 * 1024;

/// The files of projects that were opened before: no more than the runner has projects.
#[derive(Clone, Default)]
pub(super) struct Opened(Arc<Mutex<HashMap<ProjectName, ObjectStore>>>);

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

/// What became of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// It is there, as its name says.
    Whole,
    /// FILES has it no more, or something else under its name.
    Gone,
}

impl Bus {
    /// Puts a text into a project's FILES. Returns its digest, which is its name there.
    pub(crate) async fn put_text(&self, project: &ProjectName, text: &str) -> Result<String> {
        let file = File { digest: hex(&Sha256::digest(text)), bytes: text.len() as u64 };
        self.put_once(project, &file, &mut text.as_bytes()).await?;
        Ok(file.digest)
    }

    /// Puts a file of this host into a project's FILES.
    pub(crate) async fn put_file(
        &self,
        project: &ProjectName,
        file: &File,
        path: &Path,
    ) -> Result<()> {
        let opened = tokio::fs::File::open(path).await;
        let mut from = opened.map_err(request("reading a file of this host"))?;
        self.put_once(project, file, &mut from).await
    }

    async fn put_once(
        &self,
        project: &ProjectName,
        file: &File,
        from: &mut (impl AsyncRead + Unpin),
    ) -> Result<()> {
        let files = self.files(project).await?;
        // A second time it would take the chunks of the first away, which a runner may not.
        let there = timeout(REQUEST_TIMEOUT, files.info(&file.digest)).await;
        if let Ok(Ok(there)) = there
            && is_whole_and_fresh(&there, file.bytes)
        {
            return Ok(());
        }
        let meta = ObjectMetadata { name: file.digest.clone(), ..Default::default() };
        let put = timeout(wait(file), files.put(meta, from)).await;
        match put.map_err(request("writing a file"))? {
            Ok(_) => Ok(()),
            // It is written, again. The chunks of the first time are left to age: a runner may not
            // purge.
            Err(error) if error.kind() == PutErrorKind::PurgeOldChunks => Ok(()),
            Err(error) => Err(request("writing a file")(error)),
        }
    }

    /// Fetches a file out of a project's FILES. What lies at `to` is replaced; unless all came as it
    /// should, what lies there then is to be thrown away.
    ///
    /// # Errors
    ///
    /// NATS did not answer, or the disk takes nothing: it may come at another time.
    pub(crate) async fn get_file(
        &self,
        project: &ProjectName,
        file: &File,
        to: &Path,
    ) -> Result<Fetched> {
        let doing = "reading a file";
        let files = self.files(project).await?;
        let got =
            timeout(REQUEST_TIMEOUT, files.get(&file.digest)).await.map_err(request(doing))?;
        let object = match got {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(Fetched::Gone),
            Err(error) => return Err(request(doing)(error)),
        };
        if object.info.deleted || object.info.size as u64 != file.bytes {
            return Ok(Fetched::Gone);
        }
        let copied = timeout(wait(file), copy(object, to)).await.map_err(request(doing))?;
        let digest = copied.map_err(request(doing))?;
        Ok(if digest == file.digest { Fetched::Whole } else { Fetched::Gone })
    }

    /// Asks whoever leads FILES of a project for a sign of life. That they are missing is one, where
    /// the records are there: a server that has just started knows of neither.
    ///
    /// # Errors
    ///
    /// Nobody leads them, or NATS did not answer: what failed there is no fault of the file's.
    pub(crate) async fn files_answer(&self, project: &ProjectName) -> Result<()> {
        let doing = "looking for FILES";
        self.context.get_stream(streams::runs().name).await.map_err(request(doing))?;
        match self.context.get_stream(streams::files_stream(project)).await {
            Ok(files) => {
                let cluster = files.cached_info().cluster.as_ref();
                if cluster.is_some_and(|cluster| cluster.leader.is_none()) {
                    return Err(request(doing)(io::Error::other("nobody leads them")));
                }
                Ok(())
            }
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(request(doing)(error)),
        }
    }

    /// Opens FILES of a project. Each answer waits for it, so that is done once.
    async fn files(&self, project: &ProjectName) -> Result<ObjectStore> {
        let opened = || self.files.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = opened().get(project).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let files = self.context.get_object_store(streams::files_bucket(project)).await;
        let files = files.map_err(request("opening FILES"))?;
        opened().insert(project.clone(), files.clone());
        Ok(files)
    }
}

/// Writes what comes into a file, onto the disk. Returns its digest.
async fn copy(mut from: impl AsyncRead + Unpin, to: &Path) -> io::Result<String> {
    let mut file = tokio::fs::File::create(to).await?;
    let (mut digest, mut step) = (Sha256::new(), vec![0; STEP]);
    loop {
        let read = from.read(&mut step).await?;
        if read == 0 {
            break;
        }
        digest.update(&step[..read]);
        file.write_all(&step[..read]).await?;
    }
    file.sync_all().await?;
    Ok(hex(&digest.finalize()))
}

/// The digest of the first bytes of a file, as a name in FILES; `None`: it has not so many.
///
/// # Errors
///
/// What the operating system said.
pub(crate) fn digest_of(path: &Path, bytes: u64) -> io::Result<Option<String>> {
    let mut from = fs::File::open(path)?.take(bytes);
    let (mut digest, mut step, mut all) = (Sha256::new(), vec![0; STEP], 0);
    loop {
        let read = from.read(&mut step)?;
        if read == 0 {
            break;
        }
        digest.update(&step[..read]);
        all += read as u64;
    }
    Ok((all == bytes).then(|| hex(&digest.finalize())))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a text takes all");
        hex
    })
}

fn wait(file: &File) -> Duration {
    FILE_WAIT + Duration::from_secs(file.bytes / PACE)
}

/// Whether a file need not be written again: it has this size, and half of its age is left to whoever is
/// to read it. A wrong clock only has it written again.
fn is_whole_and_fresh(file: &object_store::ObjectInfo, bytes: u64) -> bool {
    let age = file.modified.map(|at| SystemTime::from(at).elapsed());
    let is_fresh = age.is_some_and(|age| age.is_ok_and(|age| age < streams::KEEP / 2));
    is_fresh && !file.deleted && file.size as u64 == bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_beginning_is_that_of_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "test and more").unwrap();
        let test = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        assert_eq!(digest_of(&path, 4).unwrap().as_deref(), Some(test));
        assert_ne!(digest_of(&path, 13).unwrap().as_deref(), Some(test));
        assert_eq!(digest_of(&path, 14).unwrap(), None, "it is shorter");
    }
}
