//! How fast the filesystem store takes and gives blobs over one loopback connection, beside what the disk does by itself.
//!
//! ```text
//! cargo bench -p atcr-hold --bench filesystem_store -- [MiB per blob] [blobs at once] [folder]
//! ```
//! The store runs in a process of its own, so that its memory can be read; the client is a plain socket. Each round writes
//! with `dd conv=fdatasync`, uploads as many bytes through the store, and downloads them from the page cache.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that fails may say so any way it likes"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use atcr_atproto::clock::SystemClock;
use atcr_atproto::syntax::Did;
use atcr_hold::adapters::filesystem::FilesystemStore;
use atcr_hold::adapters::sqlite::{self, SqliteUploads};
use atcr_hold::blobs::{BlobOptions, BlobService, DownloadMethod, PartTag};
use atcr_hold::edge;
use atcr_oci::{Algorithm, DigestHasher};

const MIB: usize = 1024 * 1024;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next().as_deref() {
        Some("serve") => serve(Path::new(&arguments.next().unwrap())),
        size => {
            let size = size.map_or(1024, |text| text.parse().unwrap());
            let at_once = arguments.next().map_or(1, |text| text.parse().unwrap());
            let folder = arguments
                .next()
                .unwrap_or_else(|| "target/bench-store".to_owned());
            measure(size, at_once, Path::new(&folder));
        }
    }
}

/// Answers one command a line: `begin`, `complete <id> <digest> <etag>`, `get <digest>`.
#[tokio::main]
async fn serve(folder: &Path) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let clock = Arc::new(SystemClock);
    let store = FilesystemStore::open(&folder.join("objects"), url.parse().unwrap(), clock.clone()).unwrap();
    let database = sqlite::open(&folder.join("hold.db")).await.unwrap();
    tokio::spawn(axum::serve(listener, edge::store::router(store.clone())).into_future());
    let sessions = Arc::new(SqliteUploads::new(database));
    let blobs = BlobService::new(Arc::new(store), sessions, clock, BlobOptions::default());
    let owner: Did = "did:plc:aliceaaaaaaaaaaaaaaaaaaa".parse().unwrap();
    let (commands, mut received) = tokio::sync::mpsc::channel::<String>(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            commands.blocking_send(line.unwrap()).unwrap();
        }
    });
    while let Some(line) = received.recv().await {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["begin"] => {
                let begun = blobs.initiate(&owner, "uploads/temp-1", None).await.unwrap();
                println!("{} {}", begun.upload_id, begun.first_part.url);
            }
            ["complete", id, digest, etag] => {
                let tag = PartTag {
                    part_number: 1,
                    etag: etag.to_owned(),
                };
                let digest = digest.parse().unwrap();
                blobs.complete(&owner, id, &digest, &[tag], None).await.unwrap();
                println!("done");
            }
            ["get", digest] => {
                let digest = digest.parse().unwrap();
                let url = blobs
                    .download_url(None, &digest, DownloadMethod::Get)
                    .await
                    .unwrap()
                    .unwrap();
                println!("{}", url.url);
            }
            _ => unreachable!("{line}"),
        }
    }
}

struct Store {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Store {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([Path::new("serve"), folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    fn ask(&mut self, command: &str) -> String {
        let mut input = self.process.stdin.as_ref().unwrap();
        writeln!(input, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// Processor time used so far, in seconds: says more than the clock on a machine that does other things, too.
    fn processor_time(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
        // `utime` and `stime`, at 100 ticks a second.
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Peak resident memory.
    fn peak(&self) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line["VmHWM:".len()..].trim().to_owned()
    }
}

fn measure(size: usize, at_once: usize, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let noise = Arc::new(noise(16 * MIB));
    let digest = {
        let mut hasher = DigestHasher::new(Algorithm::Sha256);
        let mut rest = size * MIB;
        while rest > 0 {
            let len = rest.min(noise.len());
            hasher.update(&noise[..len]);
            rest -= len;
        }
        hasher.finish().to_string()
    };
    println!("{size} MiB, {at_once} at once");
    let mut store = Store::start(folder);
    for round in 1..=3 {
        let disk = dd(folder, size * at_once);
        let worked = store.processor_time();
        let begun = Instant::now();
        let uploads: Vec<_> = (0..at_once)
            .map(|_| {
                let line = store.ask("begin");
                let (id, url) = line.split_once(' ').unwrap();
                (id.to_owned(), url.to_owned())
            })
            .collect();
        let senders: Vec<_> = uploads
            .iter()
            .map(|(_, url)| {
                let (url, noise) = (url.clone(), noise.clone());
                std::thread::spawn(move || put(&url, size * MIB, &noise))
            })
            .collect();
        let etags: Vec<String> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
        let sent = begun.elapsed().as_secs_f64();
        for ((id, _), etag) in uploads.iter().zip(etags) {
            store.ask(&format!("complete {id} {digest} {etag}"));
        }
        let stored = begun.elapsed().as_secs_f64();
        let megabytes = (size * at_once * MIB) as f64 / 1e6;
        println!(
            "round {round}: dd {:.0} MB/s, upload {:.0} MB/s (ratio {:.2}; sent after {sent:.2} s, durable after {stored:.2} s; {:.2} s of processor)",
            megabytes / disk,
            megabytes / stored,
            disk / stored,
            store.processor_time() - worked,
        );
        let url = store.ask(&format!("get {digest}"));
        let worked = store.processor_time();
        let begun = Instant::now();
        get(&url, size * MIB);
        let taken = begun.elapsed().as_secs_f64();
        println!(
            "  download, page cache, one connection: {:.0} MB/s ({:.2} s of processor); the store's peak memory {}",
            (size * MIB) as f64 / 1e6 / taken,
            store.processor_time() - worked,
            store.peak()
        );
        fs::remove_dir_all(folder.join("objects/docker/registry/v2/blobs")).unwrap();
    }
    store.process.kill().unwrap();
    store.process.wait().unwrap();
    fs::remove_dir_all(folder).unwrap();
}

fn dd(folder: &Path, mib: usize) -> f64 {
    let file: PathBuf = folder.join("dd");
    let begun = Instant::now();
    let status = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M", "conv=fdatasync", "status=none"])
        .arg(format!("of={}", file.display()))
        .arg(format!("count={mib}"))
        .status()
        .unwrap();
    assert!(status.success());
    let taken = begun.elapsed().as_secs_f64();
    fs::remove_file(file).unwrap();
    taken
}

fn connect(url: &str) -> (TcpStream, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    (TcpStream::connect(host).unwrap(), format!("/{path}"))
}

fn put(url: &str, len: usize, noise: &[u8]) -> String {
    let (mut connection, target) = connect(url);
    write!(
        connection,
        "PUT {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n"
    )
    .unwrap();
    let mut rest = len;
    while rest > 0 {
        let piece = rest.min(noise.len());
        connection.write_all(&noise[..piece]).unwrap();
        rest -= piece;
    }
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let etag = answer
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .unwrap();
    etag.to_owned()
}

fn get(url: &str, len: usize) {
    let (mut connection, target) = connect(url);
    write!(
        connection,
        "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut buffer = vec![0; MIB];
    let mut received = 0;
    loop {
        match connection.read(&mut buffer).unwrap() {
            0 => break,
            read => received += read,
        }
    }
    assert!(received > len);
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
