//! `gateway-svc provision --out` dies at each file that it writes: what is there is whole and nobody
//! else's to read, and the next call completes the set with the same keys.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use harness::World;

/// The list of who there is, the seeds of the admin, the gateway and two runners, and what nats-server
/// includes.
const FILES: usize = 6;
/// The characters of a seed.
const SEED: usize = 58;

/// The seeds that are there, by their names.
fn seeds(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut seeds = BTreeMap::new();
    for entry in fs::read_dir(dir).context("no folder of keys")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "nk") {
            let mode = fs::metadata(&path)?.permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", path.display());
            let name = path.file_name().context("a name")?.display().to_string();
            seeds.insert(name, fs::read_to_string(&path)?.trim().to_owned());
        }
    }
    Ok(seeds)
}

/// Calls `provision --out` for two runners in new folders, each call to die at a later passing of the
/// point, until one comes to its end; then completes each set.
async fn a_set_survives_deaths(point: &str) -> Result<()> {
    let world = World::builder().without_gateway().without_runner().start().await?;
    for passing in 1..=FILES + 1 {
        let dir = world.folder().root().join(format!("keys-{passing}"));
        let text = dir.display().to_string();
        let out = ["provision", "--out", &text];
        let words = [&out[..], &["--runner", "build-2=web", "--runner", "host"]].concat();
        let died = world.gateway_command_dies_at(&words, &format!("{point}:{passing}")).await?;
        assert_eq!(died, passing <= FILES, "it writes {FILES} files");
        assert_eq!(fs::metadata(&dir)?.permissions().mode() & 0o777, 0o700);
        let before = seeds(&dir)?;
        assert!(before.values().all(|seed| seed.len() == SEED), "a seed is whole or not there");
        assert!(world.gateway_command(&words).await?.status.success());
        let after = seeds(&dir)?;
        assert_eq!(after.len(), 4, "{:?}", after.keys());
        assert!(before.iter().all(|(name, seed)| after.get(name) == Some(seed)), "a key is lost");
        let users = fs::read_to_string(dir.join("users.conf"))?;
        assert_eq!(users.matches("nkey: U").count(), 4, "{users}");
        let left = fs::read_dir(&dir)?.count();
        assert_eq!(left, FILES + 1, "those, and the lock");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_keys_survives_a_death_before_each_of_its_files_is_in_place() -> Result<()> {
    a_set_survives_deaths("keys.written").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_keys_survives_a_death_after_each_of_its_files_is_in_place() -> Result<()> {
    a_set_survives_deaths("keys.renamed").await
}
