//! A proxy that spoils answers, and a server of texts: both on loopback, for tests of what goes wrong.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens to the next answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spoil {
    /// Nothing.
    Nothing,
    /// They come so much later.
    Slow(Duration),
    /// Their first half comes at once, the rest so much later.
    SlowBody(Duration),
    /// Another status, with the body as it is.
    Status(u16),
    /// The connection ends in the middle of the body.
    Cut,
    /// The body is a part, and the length says so.
    Shortened,
    /// The body goes on for a million spaces, and the length says so.
    Oversized,
    /// The same without saying a length.
    Endless,
    /// 302 to elsewhere.
    Redirect,
    /// The body comes as text/html.
    Html,
    /// The answer has a warning, as Thanos gives when a store is away.
    Warning,
    /// The connection ends without an answer.
    HangUp,
}

/// Where answers come from.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// A real server.
    Server(SocketAddr),
    /// This JSON, whatever is asked.
    Json(String),
    /// This text, whatever is asked.
    Text(String),
}

/// A proxy; it ends when dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<Upstream>,
    spoil: Mutex<Spoil>,
    heads: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl FaultProxy {
    /// A proxy on a port of its own.
    pub fn start(upstream: Upstream) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), upstream)
    }

    /// A proxy on a port that is known.
    pub fn start_at(address: SocketAddr, upstream: Upstream) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            spoil: Mutex::new(Spoil::Nothing),
            heads: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if of_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&of_thread);
                std::thread::spawn(move || {
                    // A client that has gone is what some tests are about.
                    let _ = shared.answer(client);
                });
            }
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Spoils all answers from now on.
    pub fn spoil(&self, spoil: Spoil) {
        *self.shared.spoil.lock().unwrap() = spoil;
    }

    /// Answers come from elsewhere from now on.
    pub fn set_upstream(&self, upstream: Upstream) {
        *self.shared.upstream.lock().unwrap() = upstream;
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn answer(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        let head = read_head(&mut client)?;
        self.heads.lock().unwrap().push(head.clone());
        let spoil = *self.spoil.lock().unwrap();
        let upstream = self.upstream.lock().unwrap().clone();
        let (mut status, mut content_type, mut body) = match upstream {
            Upstream::Json(text) => (200, "application/json".to_owned(), text.into_bytes()),
            Upstream::Text(text) => {
                (200, "text/plain; version=0.0.4".to_owned(), text.into_bytes())
            }
            Upstream::Server(address) => ask(address, &head)?,
        };
        let mut length = Some(body.len());
        match spoil {
            Spoil::Nothing => {}
            Spoil::Slow(delay) => std::thread::sleep(delay),
            Spoil::Status(other) => status = other,
            Spoil::Cut | Spoil::SlowBody(_) => {}
            Spoil::Shortened => {
                body.truncate(body.len() / 2);
                length = Some(body.len());
            }
            Spoil::Oversized | Spoil::Endless => {
                body.resize(body.len() + (1 << 20), b' ');
                length = (spoil == Spoil::Oversized).then_some(body.len());
            }
            Spoil::Redirect => status = 302,
            Spoil::Html => content_type = "text/html".to_owned(),
            Spoil::Warning => {
                let text = String::from_utf8_lossy(&body).into_owned();
                let warned = text.replacen('{', r#"{"warnings":["a store is away"],"#, 1);
                body = warned.into_bytes();
                length = Some(body.len());
            }
            Spoil::HangUp => return Ok(()),
        }
        let mut answer = format!("HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n");
        if let Some(length) = length {
            answer.push_str(&format!("Content-Length: {length}\r\n"));
        }
        if status == 302 {
            answer.push_str("Location: http://127.0.0.1:1/\r\n");
        }
        answer.push_str("Connection: close\r\n\r\n");
        client.write_all(answer.as_bytes())?;
        let (first, rest) = body.split_at(body.len() / 2);
        client.write_all(first)?;
        client.flush()?;
        if spoil == Spoil::Cut {
            return Ok(());
        }
        if let Spoil::SlowBody(delay) = spoil {
            std::thread::sleep(delay);
        }
        client.write_all(rest)
    }
}

fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Passes a GET on. HTTP 1.0: the answer comes in one piece and ends with the connection.
fn ask(address: SocketAddr, head: &str) -> std::io::Result<(u16, String, Vec<u8>)> {
    let target = head.split(' ').nth(1).unwrap_or("/");
    let mut server = TcpStream::connect(address)?;
    write!(server, "GET {target} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let head = read_head(&mut server)?;
    let mut body = Vec::new();
    server.read_to_end(&mut body)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(502);
    let content_type = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-type:").map(str::to_owned)
    });
    Ok((status, content_type.unwrap_or_default().trim().to_owned(), body))
}
