//! What claude is started with, checked and written down.
//!
//! It never starts anything.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD as HERE, FileType, Mode, mknodat};

use super::SpoolError;
use crate::keeper::record::{
    ARGV, BELL, CWD, DIR_MODE, ENV, FILE_MODE, IN, LOCK, MARK, join_items, sync_dir,
};

/// What claude is to be started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The program and its arguments; the program is looked up in `env`'s PATH.
    pub(crate) argv: Vec<OsString>,
    /// The whole environment. The spool adds its mark ([`MARK`]).
    pub(crate) env: BTreeMap<OsString, OsString>,
    /// The directory that claude works in.
    pub(crate) cwd: PathBuf,
}

/// The bytes of the three files that a keeper reads.
pub(super) struct SpecFiles {
    argv: Vec<u8>,
    env: Vec<u8>,
    cwd: Vec<u8>,
}

impl SpecFiles {
    pub(super) fn new(name: &str, spec: &Spec) -> Result<Self, SpoolError> {
        let unfit = |what| SpoolError::Unfit { what };
        if spec.argv.first().is_none_or(|program| program.is_empty()) {
            return Err(unfit("an empty command"));
        }
        let argv = join_items(spec.argv.iter().map(|item| item.as_bytes()));
        let mark = (OsString::from(MARK), OsString::from(name));
        let mut variables = Vec::new();
        for (key, value) in spec.env.iter().chain([(&mark.0, &mark.1)]) {
            if key.is_empty() || key.as_bytes().contains(&b'=') {
                return Err(unfit("the name of a variable"));
            }
            variables.push([key.as_bytes(), b"=", value.as_bytes()].concat());
        }
        let cwd = spec.cwd.as_os_str().as_bytes();
        if !spec.cwd.is_absolute() || cwd.contains(&0) {
            return Err(unfit("the working directory"));
        }
        Ok(SpecFiles {
            argv: argv.ok_or(unfit("an argument with a NUL"))?,
            env: join_items(variables.iter().map(Vec::as_slice))
                .ok_or(unfit("a variable with a NUL"))?,
            cwd: cwd.to_owned(),
        })
    }

    /// Makes the directory `made` with all that a spool begins with, durable.
    pub(super) fn write(&self, made: &Path, files: &[(&str, &[u8])]) -> io::Result<()> {
        match fs::remove_dir_all(made) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut dirs = DirBuilder::new();
        dirs.mode(DIR_MODE);
        dirs.create(made)?;
        dirs.create(made.join(IN))?;
        let bell = made.join(BELL);
        mknodat(HERE, &bell, FileType::Fifo, Mode::from_raw_mode(FILE_MODE), 0)?;
        let own = [(ARGV, &*self.argv), (ENV, &*self.env), (CWD, &*self.cwd), (LOCK, b"")];
        for (name, bytes) in own.into_iter().chain(files.iter().copied()) {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create_new(true).mode(FILE_MODE).open(made.join(name))?;
            file.write_all(bytes)?;
            file.sync_all()?;
        }
        sync_dir(&made.join(IN))?;
        sync_dir(made)
    }
}
