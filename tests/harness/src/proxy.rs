//! A TCP proxy on loopback, before a server: a network that can be cut, go silent or be slow for one
//! of its clients.
//!
//! What was taken is handed on in order and unchanged. Silent means that nothing comes through and
//! nobody is told: connections stay open, new ones are taken and lead nowhere, as behind a switch
//! that lost its power. Half of a way can be silent too: what the client says, or what the server
//! answers. Open again, what is new comes through; the connections of before are closed, as by a peer
//! that remembers nothing of them.
//!
//! A way can be made deaf by what the client says ([`Proxy::deaf_after`]): then the server has it, and
//! its answer is lost. And a server can be made to say something else than it does
//! ([`Proxy::says_instead`]): it is older then, or its clock goes otherwise.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How much is handed on at once.
const PIECE: usize = 16 * 1024;
/// How late everything comes over a slow way: as from the other side of the earth.
const LATE: Duration = Duration::from_millis(250);

/// What the way through a proxy is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it should be.
    Open,
    /// Connections are closed, and none is taken.
    Closed,
    /// Nothing gets through, and nobody is told.
    Silent,
    /// What the client says is lost; what the server says arrives.
    Mute,
    /// What the client says arrives; what the server says is lost.
    Deaf,
    /// All comes late.
    Slow,
}

/// A proxy. Dropping it ends it, and all that goes through it.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// What makes the way deaf when the client says it.
    word: watch::Sender<Option<String>>,
    /// Whether anything was lost since.
    lost: watch::Sender<bool>,
    /// What the server seems to say in place of what it says.
    instead: watch::Sender<Option<(String, String)>>,
    /// How many connections were taken.
    taken: watch::Sender<usize>,
    /// How often all connections were cut.
    cuts: watch::Sender<usize>,
    /// Taking connections, until this is dropped.
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// An open way to `server`.
    ///
    /// # Errors
    ///
    /// When there is no port to listen on.
    pub async fn before(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("no port for a proxy")?;
        let address = listener.local_addr().context("a proxy without an address")?;
        let (way, _) = watch::channel(Way::Open);
        let (word, _) = watch::channel(None);
        let (lost, _) = watch::channel(false);
        let (instead, _) = watch::channel(None);
        let (taken, _) = watch::channel(0);
        let (cuts, _) = watch::channel(0);
        let line = Line {
            server,
            way: way.clone(),
            word: word.clone(),
            lost: lost.clone(),
            instead: instead.clone(),
            cuts: cuts.clone(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(take(listener, line, taken.clone()));
        Ok(Self { address, way, word, lost, instead, taken, cuts, _tasks: tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what its way is like.
    pub fn make(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Closes every connection that is there. New ones are taken.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Becomes deaf in the moment when the client says `word`, which still arrives. Once.
    pub fn deaf_after(&self, word: &str) {
        self.lost.send_replace(false);
        self.word.send_replace(Some(word.to_owned()));
    }

    /// Waits until something was lost that the server said after the word ([`Proxy::deaf_after`]).
    pub async fn has_lost(&self) {
        // The sender is here.
        let _ = self.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// From now on the server seems to say `other` wherever it says `own`, which is as long: the lengths of
    /// messages stay true. What it says in two pieces is left as it is.
    ///
    /// # Panics
    ///
    /// When one is longer than the other.
    pub fn says_instead(&self, own: &str, other: &str) {
        assert_eq!(own.len(), other.len(), "the lengths of messages stay true");
        self.instead.send_replace(Some((own.to_owned(), other.to_owned())));
    }

    /// From now on the server says what it says.
    pub fn says_as_it_is(&self) {
        self.instead.send_replace(None);
    }

    /// How many connections it took so far.
    pub fn taken(&self) -> usize {
        *self.taken.borrow()
    }

    /// Waits until it took more connections than that.
    pub async fn takes_more_than(&self, taken: usize) {
        // The sender is here.
        let _ = self.taken.subscribe().wait_for(|now| taken < *now).await;
    }
}

/// What each connection goes along.
#[derive(Clone, Debug)]
struct Line {
    server: SocketAddr,
    way: watch::Sender<Way>,
    word: watch::Sender<Option<String>>,
    lost: watch::Sender<bool>,
    instead: watch::Sender<Option<(String, String)>>,
    cuts: watch::Sender<usize>,
}

impl Line {
    /// Whether the client says what makes the way deaf. `said` begins with the end of what it said
    /// before.
    fn hears(&self, said: &[u8]) {
        let is_word = |word: &mut Option<String>| {
            let is_there = word
                .as_ref()
                .is_some_and(|word| said.windows(word.len()).any(|piece| piece == word.as_bytes()));
            if is_there {
                *word = None;
            }
            is_there
        };
        if self.word.send_if_modified(is_word) {
            self.way.send_replace(Way::Deaf);
        }
    }

    /// What the server seems to say.
    fn replace(&self, said: &mut [u8]) {
        let instead = self.instead.borrow();
        let Some((own, other)) = instead.as_ref() else { return };
        let is_own = |at: &usize| said[*at..].starts_with(own.as_bytes());
        let places: Vec<usize> = (0..said.len()).filter(is_own).collect();
        for at in places {
            said[at..at + other.len()].copy_from_slice(other.as_bytes());
        }
    }

    /// What of the end of `said` may be the beginning of the word.
    fn tail<'a>(&self, said: &'a [u8]) -> &'a [u8] {
        let keep = self.word.borrow().as_ref().map_or(0, |word| word.len().saturating_sub(1));
        &said[said.len().saturating_sub(keep)..]
    }
}

async fn take(listener: TcpListener, line: Line, taken: watch::Sender<usize>) {
    let mut connections = JoinSet::new();
    loop {
        // What has ended is of no interest.
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else { continue };
        if *line.way.borrow() != Way::Closed {
            taken.send_modify(|taken| *taken += 1);
            connections.spawn(carry(client, line.clone()));
        }
    }
}

/// Carries one connection to its end, or until the way is closed or silent; a silent one is held
/// until it is over. One that lost half of what was said is closed when its way is open again.
async fn carry(client: TcpStream, line: Line) {
    let mut way = line.way.subscribe();
    let mut cuts = line.cuts.subscribe();
    let (client_read, client_write) = client.into_split();
    let through = async {
        let Ok(server) = TcpStream::connect(line.server).await else { return };
        let (server_read, server_write) = server.into_split();
        // However it ends, both sides hear of it.
        tokio::select! {
            () = pump(client_read, server_write, &line, Way::Mute) => {}
            () = pump(server_read, client_write, &line, Way::Deaf) => {}
        }
    };
    tokio::pin!(through);
    tokio::select! {
        biased;
        // The sender lives as long as this task.
        _ = way.wait_for(|way| matches!(way, Way::Closed | Way::Silent)) => {}
        _ = cuts.changed() => return,
        () = &mut through => return,
    }
    // Neither carried on nor dropped: nobody is told until it is over.
    let _ = way.wait_for(|way| *way != Way::Silent).await;
}

/// Hands on what one side says, until it ends or was lost on a way like `lost` that is open again.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: &Line,
    lost: Way,
) {
    let mut piece = vec![0; PIECE];
    let mut said = Vec::new();
    let mut way = line.way.subscribe();
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        if lost == Way::Deaf {
            line.replace(&mut piece[..length]);
        }
        if lost == Way::Mute {
            said.extend_from_slice(&piece[..length]);
            line.hears(&said);
            said = line.tail(&said).to_vec();
        }
        let is = *way.borrow_and_update();
        if is == lost {
            line.lost.send_replace(true);
            // A stream with a hole in it is of no use: it ends when the way is open again.
            let _ = way.wait_for(|way| *way != lost).await;
            return;
        }
        if is == Way::Slow {
            tokio::time::sleep(LATE).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    const A_MOMENT: Duration = Duration::from_millis(50);

    struct Pair {
        proxy: Proxy,
        server: TcpListener,
    }

    impl Pair {
        async fn new() -> Self {
            let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let proxy = Proxy::before(server.local_addr().unwrap()).await.unwrap();
            Self { proxy, server }
        }

        async fn connect(&self) -> (TcpStream, TcpStream) {
            let client = TcpStream::connect(self.proxy.address()).await.unwrap();
            (client, self.server.accept().await.unwrap().0)
        }
    }

    async fn goes_through(from: &mut TcpStream, to: &mut TcpStream) {
        from.write_all(b"a").await.unwrap();
        assert_eq!(to.read_u8().await.unwrap(), b'a');
    }

    #[tokio::test]
    async fn what_is_silent_tells_nobody_and_what_is_open_again_goes_through_anew() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        goes_through(&mut accepted, &mut client).await;
        pair.proxy.make(Way::Silent);
        let mut later = TcpStream::connect(pair.proxy.address()).await.unwrap();
        let nothing = timeout(A_MOMENT, later.read_u8()).await;
        assert!(nothing.is_err(), "it is neither refused nor closed");
        let nothing = timeout(A_MOMENT, client.read_u8()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        pair.proxy.make(Way::Open);
        assert!(client.read_u8().await.is_err(), "it is closed");
        let (mut client, mut accepted) = pair.connect().await;
        goes_through(&mut client, &mut accepted).await;
    }

    #[tokio::test]
    async fn what_is_cut_is_told_and_taken_again() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        goes_through(&mut client, &mut accepted).await;
        pair.proxy.cut();
        assert!(client.read_u8().await.is_err());
        assert!(accepted.read_u8().await.is_err());
        let (mut client, mut accepted) = pair.connect().await;
        goes_through(&mut client, &mut accepted).await;
        assert_eq!(pair.proxy.taken(), 2);
    }

    #[tokio::test]
    async fn what_is_closed_is_told_and_takes_nothing() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        pair.proxy.make(Way::Closed);
        assert!(client.read_u8().await.is_err());
        assert!(accepted.read_u8().await.is_err());
        let mut later = TcpStream::connect(pair.proxy.address()).await.unwrap();
        assert!(later.read_u8().await.is_err());
    }

    #[tokio::test]
    async fn half_of_a_way_can_be_silent() {
        for (way, client_is_lost) in [(Way::Mute, true), (Way::Deaf, false)] {
            let pair = Pair::new().await;
            let (mut client, mut accepted) = pair.connect().await;
            goes_through(&mut client, &mut accepted).await;
            pair.proxy.make(way);
            let (from, to) = if client_is_lost {
                (&mut client, &mut accepted)
            } else {
                (&mut accepted, &mut client)
            };
            goes_through(to, from).await;
            from.write_all(b"a").await.unwrap();
            let nothing = timeout(A_MOMENT, to.read_u8()).await;
            assert!(nothing.is_err(), "{way:?}: {nothing:?}");
            pair.proxy.make(Way::Open);
            assert!(to.read_u8().await.is_err(), "it is closed");
        }
    }

    #[tokio::test]
    async fn a_word_makes_it_deaf_and_arrives() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        pair.proxy.deaf_after("PUB work.");
        for piece in ["+OK PU", "B wor", "k.app"] {
            client.write_all(piece.as_bytes()).await.unwrap();
            let mut read = vec![0; piece.len()];
            accepted.read_exact(&mut read).await.unwrap();
            assert_eq!(read, piece.as_bytes());
        }
        accepted.write_all(b"+OK").await.unwrap();
        pair.proxy.has_lost().await;
        let nothing = timeout(A_MOMENT, client.read_u8()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        assert_eq!(pair.proxy.taken(), 1);
    }

    #[tokio::test]
    async fn a_server_can_be_made_to_say_something_else() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        pair.proxy.says_instead("2.15", "2.10");
        accepted.write_all(b"INFO 2.15 2.1 2.15").await.unwrap();
        let mut read = [0; 18];
        client.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"INFO 2.10 2.1 2.10");
        pair.proxy.says_as_it_is();
        accepted.write_all(b"2.15").await.unwrap();
        client.read_exact(&mut read[..4]).await.unwrap();
        assert_eq!(&read[..4], b"2.15");
    }

    #[tokio::test]
    async fn what_is_slow_arrives() {
        let pair = Pair::new().await;
        let (mut client, mut accepted) = pair.connect().await;
        pair.proxy.make(Way::Slow);
        goes_through(&mut client, &mut accepted).await;
        goes_through(&mut accepted, &mut client).await;
    }
}
