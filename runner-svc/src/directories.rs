//! Who works in which directory: one run at a time, in the order in which they came.
//!
//! A directory is its canonical path, so projects that share one wait for each other. The guard is
//! kept from before claude is started until it is gone for good. Who waits gives its slot back, so
//! that other projects can use it, and is handed the slot of the run that leaves.
//!
//! A hint derived from the spools, never the truth: after a restart whatever is at work is put in
//! again by adoption, before any work is asked for. It knows nothing of worktrees; each of those is
//! a directory that nobody else comes to. And it lets nobody in any more once the runner is to end: who
//! leaves then has ended nothing, its claude goes on in its keeper.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

/// The most runs that wait for a directory without a slot. Each is a few kilobytes and a
/// subscription; whoever comes when so many wait keeps its slot, and less new work is asked for.
const WAITING_MAX: usize = 64;

/// The right to one of the runner's slots.
pub(crate) type Slot = OwnedSemaphorePermit;

/// The directories in which something is at work.
#[derive(Debug)]
pub(crate) struct Directories {
    house: Arc<House>,
    /// The places of those who wait without a slot.
    lobby: Semaphore,
}

/// All directories, each there only while something is at work in it.
#[derive(Debug)]
struct House {
    rooms: Mutex<HashMap<PathBuf, Room>>,
    /// That the runner is to end.
    stop: CancellationToken,
}

/// One directory.
#[derive(Debug, Default)]
struct Room {
    /// How many are at work in it: more than one only when an earlier version left them so.
    inside: usize,
    waiting: VecDeque<oneshot::Sender<Inside>>,
}

/// Being at work in a directory. Dropping it lets the next one in.
#[derive(Debug)]
struct Inside {
    house: Arc<House>,
    path: PathBuf,
    slot: Option<Slot>,
}

impl House {
    fn rooms(&self) -> MutexGuard<'_, HashMap<PathBuf, Room>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name that a directory has here. One that is gone has the name it is called by.
fn name_of(directory: &Path) -> PathBuf {
    fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned())
}

impl Directories {
    /// Nobody is at work yet; nobody is let in after `stop`.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        let house = Arc::new(House { rooms: Mutex::default(), stop });
        Self { house, lobby: Semaphore::new(WAITING_MAX) }
    }

    /// Waits until nothing else is at work in a directory.
    async fn enter(&self, directory: &Path, slot: Option<Slot>) -> Inside {
        let turn = match self.knock(directory) {
            Ok(mut inside) => {
                inside.slot = slot;
                return inside;
            }
            Err(turn) => turn,
        };
        let seat = self.lobby.try_acquire().ok();
        // Here and now, not at the end of the wait.
        let kept = slot.filter(|_| seat.is_none());
        tracing::info!(directory = %directory.display(), "waits for the run that works in it");
        let mut inside = turn.await.expect("who leaves lets in whoever is next");
        // Who kept a slot frees the one it is handed.
        if kept.is_some() {
            inside.slot = kept;
        }
        inside
    }

    /// Goes in whoever else is there: for what is at work already.
    fn enter_anyway(&self, directory: &Path, slot: Option<Slot>) -> Inside {
        let path = name_of(directory);
        self.house.rooms().entry(path.clone()).or_default().inside += 1;
        Inside { house: Arc::clone(&self.house), path, slot }
    }

    /// Goes in if nobody is there; otherwise gets a place in the queue.
    fn knock(&self, directory: &Path) -> Result<Inside, oneshot::Receiver<Inside>> {
        let path = name_of(directory);
        let mut rooms = self.house.rooms();
        let room = rooms.entry(path.clone()).or_default();
        if 0 < room.inside {
            let (sender, receiver) = oneshot::channel();
            room.waiting.retain(|one| !one.is_closed());
            room.waiting.push_back(sender);
            return Err(receiver);
        }
        room.inside = 1;
        Ok(Inside { house: Arc::clone(&self.house), path, slot: None })
    }
}

impl Inside {
    /// Whether it is this directory that is worked in.
    fn is_in(&self, directory: &Path) -> bool {
        self.path == name_of(directory)
    }
}

/// What a run uses of this host: its slot, and the directory that it is at work in. Whoever takes a
/// run up keeps it to the run's end, so that trouble on the way lets nobody else in.
#[derive(Clone, Debug)]
pub(crate) struct Seat(Arc<Mutex<Use>>);

/// A slot is with the directory while there is one.
#[derive(Debug)]
struct Use {
    slot: Option<Slot>,
    inside: Option<Inside>,
    /// Whether it had a slot, and has to have one again.
    lent: bool,
}

impl Seat {
    /// A seat in no directory.
    pub(crate) fn new(slot: Option<Slot>) -> Self {
        Self(Arc::new(Mutex::new(Use { slot, inside: None, lent: false })))
    }

    /// Waits until nothing else is at work in a directory, and is there from then on. To be dropped
    /// by whoever need not wait any longer: then there is no slot any more either.
    pub(crate) async fn move_to(&self, all: &Directories, directory: &Path) {
        if self.is_in(directory) {
            return;
        }
        self.leave();
        let slot = self.taken().slot.take();
        let had = slot.is_some();
        let inside = all.enter(directory, slot).await;
        let mut taken = self.taken();
        // Whoever left may have waited for a person, without a slot to hand on.
        taken.lent |= had && inside.slot.is_none();
        taken.inside = Some(inside);
    }

    /// Is in a directory from now on, whoever else is there: for what is at work already.
    pub(crate) fn stay(&self, all: &Directories, directory: &Path) {
        if self.is_in(directory) {
            return;
        }
        self.leave();
        let mut taken = self.taken();
        let slot = taken.slot.take();
        taken.inside = Some(all.enter_anyway(directory, slot));
    }

    /// Leaves the directory, and keeps the slot.
    pub(crate) fn leave(&self) {
        let mut taken = self.taken();
        if let Some(mut inside) = taken.inside.take() {
            taken.slot = inside.slot.take();
        }
    }

    /// Gives the slot up for others: this run waits for a person.
    pub(crate) fn lend(&self) {
        let mut taken = self.taken();
        let slot = taken.slot.take();
        let slot = slot.or_else(|| taken.inside.as_mut().and_then(|inside| inside.slot.take()));
        taken.lent |= slot.is_some();
    }

    /// Whether its slot is with others.
    pub(crate) fn has_lent(&self) -> bool {
        self.taken().lent
    }

    /// Has a slot again.
    pub(crate) fn take_back(&self, slot: Slot) {
        let mut taken = self.taken();
        taken.lent = false;
        match &mut taken.inside {
            Some(inside) => inside.slot = Some(slot),
            None => taken.slot = Some(slot),
        }
    }

    fn is_in(&self, directory: &Path) -> bool {
        self.taken().inside.as_ref().is_some_and(|inside| inside.is_in(directory))
    }

    fn taken(&self) -> MutexGuard<'_, Use> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.house.stop.is_cancelled() {
            return;
        }
        let mut rooms = self.house.rooms();
        let Some(room) = rooms.get_mut(&self.path) else { return };
        room.inside -= 1;
        if 0 < room.inside {
            return;
        }
        let next = room.waiting.pop_front();
        match &next {
            Some(_) => room.inside = 1,
            None => drop(rooms.remove(&self.path)),
        }
        drop(rooms);
        if let Some(next) = next {
            let inside = Inside {
                house: Arc::clone(&self.house),
                path: self.path.clone(),
                slot: self.slot.take(),
            };
            // Whoever waits no longer drops it, and so lets the next one in.
            drop(next.send(inside));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::pin::pin;

    fn open() -> Directories {
        Directories::new(CancellationToken::new())
    }

    fn slots(count: usize) -> (Arc<Semaphore>, impl FnMut() -> Option<Slot>) {
        let all = Arc::new(Semaphore::new(count));
        let from = Arc::clone(&all);
        (all, move || Some(Arc::clone(&from).try_acquire_owned().expect("a free slot")))
    }

    #[tokio::test]
    async fn one_is_inside_and_the_others_wait_in_order() {
        let all = open();
        let folder = tempfile::tempdir().unwrap();
        let first = all.enter(folder.path(), None).await;
        let mut second = pin!(all.enter(folder.path(), None));
        assert!(second.as_mut().now_or_never().is_none());
        let mut third = pin!(all.enter(folder.path(), None));
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "it is not its turn");
        let second = second.await;
        assert!(second.is_in(folder.path()) && !second.is_in(Path::new("/")));
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        drop(third.await);
        assert!(all.house.rooms().is_empty());
    }

    #[tokio::test]
    async fn who_leaves_because_the_runner_ends_lets_nobody_in() {
        let stop = CancellationToken::new();
        let all = Directories::new(stop.clone());
        let first = all.enter(Path::new("/a"), None).await;
        let mut second = pin!(all.enter(Path::new("/a"), None));
        assert!(second.as_mut().now_or_never().is_none());
        stop.cancel();
        drop(first);
        assert!(second.now_or_never().is_none(), "the first one's claude is at work");
        assert!(all.enter(Path::new("/a"), None).now_or_never().is_none());
    }

    #[tokio::test]
    async fn another_name_of_a_directory_leads_to_the_same_one() {
        let all = open();
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        let _first = all.enter(folder.path(), None).await;
        assert!(all.enter(&link, None).now_or_never().is_none());
        assert!(all.enter(Path::new("/"), None).now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_holds_up_nobody() {
        let all = open();
        let first = all.enter(Path::new("/a"), None).await;
        let mut gone = Box::pin(all.enter(Path::new("/a"), None));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut late = Box::pin(all.enter(Path::new("/a"), None));
        assert!(late.as_mut().now_or_never().is_none());
        let mut last = pin!(all.enter(Path::new("/a"), None));
        assert!(last.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        // It was let in, and never saw it.
        drop(late);
        assert!(last.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_has_no_slot_and_gets_that_of_who_leaves() {
        let all = open();
        let (free, mut take) = slots(2);
        let first = all.enter(Path::new("/a"), take()).await;
        let mut second = pin!(all.enter(Path::new("/a"), take()));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(free.available_permits(), 1, "the one who waits has none");
        drop(first);
        assert_eq!(free.available_permits(), 1, "it was handed on");
        drop(second.await);
        assert_eq!(free.available_permits(), 2);
    }

    #[tokio::test]
    async fn when_too_many_wait_the_next_one_keeps_its_slot() {
        let all = open();
        let (free, mut take) = slots(3);
        let first = all.enter(Path::new("/a"), take()).await;
        let mut waiting: Vec<_> =
            (0..WAITING_MAX).map(|_| Box::pin(all.enter(Path::new("/b"), None))).collect();
        let b = all.enter(Path::new("/b"), take()).await;
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let mut second = pin!(all.enter(Path::new("/a"), take()));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(free.available_permits(), 0);
        drop(first);
        let second = second.await;
        assert_eq!(free.available_permits(), 1, "one slot is enough");
        drop((second, waiting, b));
        assert_eq!(free.available_permits(), 3);
    }

    #[tokio::test]
    async fn a_seat_keeps_its_directory_until_it_leaves_and_its_slot_beyond() {
        let all = open();
        let (free, mut take) = slots(1);
        let seat = Seat::new(take());
        seat.move_to(&all, Path::new("/a")).await;
        // Taken up again after trouble: it does not wait for itself.
        let same = seat.clone();
        drop(seat);
        same.stay(&all, Path::new("/a"));
        assert!(same.move_to(&all, Path::new("/a")).now_or_never().is_some());
        let other = Seat::new(None);
        assert!(other.move_to(&all, Path::new("/a")).now_or_never().is_none());
        same.leave();
        assert_eq!(free.available_permits(), 0);
        assert!(other.move_to(&all, Path::new("/a")).now_or_never().is_some());
        drop(same);
        assert_eq!(free.available_permits(), 1);
    }

    #[tokio::test]
    async fn new_work_waits_for_all_that_was_at_work_before() {
        let all = open();
        let one = all.enter_anyway(Path::new("/a"), None);
        let two = all.enter_anyway(Path::new("/a"), None);
        let mut next = pin!(all.enter(Path::new("/a"), None));
        assert!(next.as_mut().now_or_never().is_none());
        drop(two);
        assert!(next.as_mut().now_or_never().is_none());
        drop(one);
        assert!(next.as_mut().now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_waits_for_a_person_lends_the_slot_and_whoever_follows_knows() {
        let (all, mut slot) = slots(2);
        let (directories, folder) = (open(), tempfile::tempdir().unwrap());
        let first = Seat::new(slot());
        first.move_to(&directories, folder.path()).await;
        let second = Seat::new(slot());
        let mut turn = Box::pin(second.move_to(&directories, folder.path()));
        assert!(turn.as_mut().now_or_never().is_none());
        first.lend();
        assert!(first.has_lent());
        assert_eq!(all.available_permits(), 2, "nobody works");
        drop(first);
        turn.await;
        assert!(second.has_lent(), "it was handed none");
        second.take_back(slot().unwrap());
        assert!(!second.has_lent() && all.available_permits() == 1);
        drop(second);
        assert_eq!(all.available_permits(), 2);
    }
}
