//! A small disk at a place in a world's folder, which a story fills and empties.
//!
//! Mounting needs rights that not everybody who runs the tests has; then there is none, and the
//! story says that it was skipped. Whatever is mounted below the folder is taken away with the world,
//! by the sweeper if we are killed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::world::World;

/// How much is written at once while a disk is filled.
const CHUNK: usize = 4096;

/// A small disk.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
}

impl World {
    /// Mounts a disk of so many megabytes at this place, which is made if it is not there; what lies
    /// there already is moved onto it. `None`, with a line that says so, where nobody may mount.
    ///
    /// # Errors
    ///
    /// When the place cannot be used.
    #[expect(clippy::print_stderr, reason = "who reads the output of the tests must know")]
    pub fn small_disk(&self, at: &Path, megabytes: u32) -> Result<Option<Disk>> {
        let aside = at.with_extension("aside");
        fs::create_dir_all(at).context("no place for a disk")?;
        fs::rename(at, &aside).context("cannot move what is there")?;
        fs::create_dir(at).context("no place for a disk")?;
        let size = format!("size={megabytes}m,mode=700");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "holdfast-story"], at);
        for entry in fs::read_dir(&aside)? {
            let entry = entry?.path();
            let copied = run("cp", &["-a", &entry.display().to_string()], at);
            ensure!(copied, "cannot move {}", entry.display());
        }
        fs::remove_dir_all(&aside).context("cannot remove a folder")?;
        if !mounted {
            eprintln!("SKIPPED: nobody may mount a disk here, so none can be full");
            return Ok(None);
        }
        Ok(Some(Disk { at: at.to_owned() }))
    }
}

impl Disk {
    /// Fills it to the last byte.
    ///
    /// # Errors
    ///
    /// When something else than room is missing.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.ballast()).context("no ballast")?;
        // The last bytes one by one.
        for size in [CHUNK, 1] {
            loop {
                match ballast.write_all(&vec![b'.'; size]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("cannot fill a disk"),
                }
            }
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    ///
    /// When it was not full.
    pub fn empty(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context("no ballast")
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

fn run(program: &str, words: &[&str], at: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(words).arg(at).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Takes away every disk that is mounted below a folder.
pub(crate) fn unmount_below(folder: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    for place in places.filter(|place| place.starts_with(folder)) {
        // Lazily: what still has a file open there loses nothing, and holds nothing up.
        run("umount", &["-l"], place);
    }
}
