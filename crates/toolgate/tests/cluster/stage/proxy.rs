//! The way from one gateway to a server, and what can happen on it. `noxious` would be such a proxy: nobody has released it
//! since 2021, its library comes with a second `tokio-util`, `rand` and `thiserror`, and what changes the weather while
//! connections are open is in its server only. So this is one, on the threads that the tests have anyway.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;

/// How it is on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything arrives at once.
    Fair,
    /// Nothing arrives, in either direction, and nobody is told. What was said arrives when the weather changes.
    Hangs,
    /// Connections end, and new ones end at once.
    Cut,
    /// Whatever is said is under way for so long, in either direction.
    Slow(Duration),
    /// Of all that is said, each so many-th piece breaks its connection with a reset instead of arriving.
    Resets(usize),
}

/// A proxy that forwards TCP to a socket file.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    sky: Arc<Sky>,
}

struct Sky {
    weather: Mutex<Weather>,
    changed: Condvar,
    pieces: AtomicUsize,
    open: Mutex<Vec<Weak<Way>>>,
    over: AtomicBool,
}

/// One connection, both halves.
struct Way {
    near: TcpStream,
    far: UnixStream,
}

impl Proxy {
    /// In fair weather.
    pub fn to(server: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sky = Arc::new(Sky {
            weather: Mutex::new(Weather::Fair),
            changed: Condvar::new(),
            pieces: AtomicUsize::new(0),
            open: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let seen = Arc::clone(&sky);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if seen.over.load(Ordering::SeqCst) {
                    return;
                }
                // A server that is away hangs up on whoever comes.
                if let Ok(far) = UnixStream::connect(&server) {
                    begin(Arc::new(Way { near, far }), &seen);
                }
            }
        });
        Self { address, sky }
    }

    /// From now on.
    pub fn turns(&self, weather: Weather) {
        *self.sky.weather.lock().unwrap() = weather;
        self.sky.changed.notify_all();
        if weather == Weather::Cut {
            self.sky.hang_up();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.sky.over.store(true, Ordering::SeqCst);
        self.turns(Weather::Cut);
        // The acceptor looks at the flag with the next connection: this one.
        let _ = TcpStream::connect(self.address);
    }
}

impl Sky {
    fn hang_up(&self) {
        for way in self.open.lock().unwrap().drain(..).filter_map(|way| way.upgrade()) {
            way.end();
        }
    }

    /// Waits as long as the weather has a piece wait; what becomes of it then.
    fn lets_through(&self) -> Passage {
        let weather = self.weather.lock().unwrap();
        let weather = *self.changed.wait_while(weather, |weather| *weather == Weather::Hangs).unwrap();
        match weather {
            Weather::Fair | Weather::Hangs => Passage::Free,
            Weather::Cut => Passage::Closed,
            Weather::Slow(delay) => {
                std::thread::sleep(delay);
                Passage::Free
            }
            Weather::Resets(every) => {
                let nth = self.pieces.fetch_add(1, Ordering::Relaxed) + 1;
                if nth.is_multiple_of(every) { Passage::Reset } else { Passage::Free }
            }
        }
    }
}

enum Passage {
    Free,
    Closed,
    Reset,
}

impl Way {
    fn end(&self) {
        // Whatever ended before is ended.
        let _ = self.near.shutdown(Shutdown::Both);
        let _ = self.far.shutdown(Shutdown::Both);
    }

    /// So that the gateway is sent a reset when the last holder lets go.
    fn reset(&self) {
        let _ = SockRef::from(&self.near).set_linger(Some(Duration::ZERO));
        let _ = self.near.shutdown(Shutdown::Read);
        let _ = self.far.shutdown(Shutdown::Both);
    }
}

fn begin(way: Arc<Way>, sky: &Arc<Sky>) {
    let _ = way.near.set_nodelay(true);
    let mut open = sky.open.lock().unwrap();
    open.retain(|way| way.strong_count() > 0);
    open.push(Arc::downgrade(&way));
    drop(open);
    let (there, sky_there) = (Arc::clone(&way), Arc::clone(sky));
    std::thread::spawn(move || carry(&there.near, &there.far, &there, &sky_there));
    let sky = Arc::clone(sky);
    std::thread::spawn(move || carry(&way.far, &way.near, &way, &sky));
}

fn carry(mut from: impl Read, mut to: impl Write, way: &Way, sky: &Sky) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        match sky.lets_through() {
            Passage::Free if to.write_all(&buffer[..length]).is_ok() => {}
            Passage::Reset => return way.reset(),
            Passage::Free | Passage::Closed => break,
        }
    }
    way.end();
}
