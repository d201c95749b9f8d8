//! FILES of a project, as the gateway uses them: what came with a question is put there, what goes with
//! an answer comes from there. A name is the digest of what is in it, and is held against it.
//!
//! Nothing is ever replaced or taken away.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::object_store::{GetErrorKind, ObjectInfo, ObjectMetadata, PutErrorKind};
use platform::nats::REQUEST_TIMEOUT;
use schemas::carried::File;
use schemas::files::GIVEN_BYTES_MAX;
use schemas::ids::ProjectName;
use schemas::streams;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{Bus, BusError, Result, request};

/// How long a file may take on its way,
const FILE_WAIT: Duration = Duration::from_secs(30);
/// and for each so many bytes of it a second more: a slow line.
const PACE: u64 = 512 * 1024;

impl Bus {
    /// Puts a file there. Returns where it lies.
    pub(crate) async fn put_file(&self, project: &ProjectName, bytes: &[u8]) -> Result<File> {
        let file = File { digest: digest_of(bytes), bytes: bytes.len() as u64 };
        let files = self.files(project).await?;
        // A second time it would take the chunks of the first away, which no service may.
        let there = timeout(REQUEST_TIMEOUT, files.info(&file.digest)).await;
        if let Ok(Ok(there)) = there
            && is_whole_and_fresh(&there, file.bytes)
        {
            return Ok(file);
        }
        let meta = ObjectMetadata { name: file.digest.clone(), ..Default::default() };
        let put = timeout(wait(file.bytes), files.put(meta, &mut &*bytes)).await;
        match put.map_err(request("writing a file"))? {
            Ok(_) => Ok(file),
            // It is written, again. The chunks of the first time are left to age.
            Err(error) if error.kind() == PutErrorKind::PurgeOldChunks => Ok(file),
            Err(error) => Err(request("writing a file")(error)),
        }
    }

    /// What is in a file; `None`: it is there no more, or something else is under its name.
    pub(crate) async fn file(&self, project: &ProjectName, file: &File) -> Result<Option<Vec<u8>>> {
        let doing = "reading a file";
        let files = self.files(project).await?;
        let got =
            timeout(REQUEST_TIMEOUT, files.get(&file.digest)).await.map_err(request(doing))?;
        let object = match got {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(request(doing)(error)),
        };
        let size = object.info.size as u64;
        if object.info.deleted || size != file.bytes || GIVEN_BYTES_MAX < size {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut object = object.take(size + 1);
        timeout(wait(size), object.read_to_end(&mut bytes))
            .await
            .map_err(request(doing))?
            .map_err(request(doing))?;
        Ok((digest_of(&bytes) == file.digest).then_some(bytes))
    }

    async fn files(
        &self,
        project: &ProjectName,
    ) -> Result<async_nats::jetstream::object_store::ObjectStore, BusError> {
        let opening = self.context.get_object_store(streams::files_bucket(project));
        opening.await.map_err(request("opening FILES"))
    }
}

fn wait(bytes: u64) -> Duration {
    FILE_WAIT + Duration::from_secs(bytes / PACE)
}

/// The name of a file with this in it.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, b| hex + &format!("{b:02x}"))
}

/// Whether a file need not be written again: it has this size, and half of its age is left to whoever is
/// to read it. A wrong clock only has it written again.
fn is_whole_and_fresh(file: &ObjectInfo, bytes: u64) -> bool {
    let age = file.modified.map(|at| SystemTime::from(at).elapsed());
    let is_fresh = age.is_some_and(|age| age.is_ok_and(|age| age < streams::KEEP / 2));
    is_fresh && !file.deleted && file.size as u64 == bytes
}
