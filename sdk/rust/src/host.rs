//! The outside world of a plugin: its log, the clock, secrets, state, connections, files and HTTP. What the operator did
//! not grant answers with an error of class `PermissionDenied`. Every function blocks until it is done or the deadline
//! of the call has passed, which ends the guest.

use crate::error::io_error;
use crate::json::{write_text, Json, Object};
use crate::{sys, Error, Result, Time};
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::rc::Rc;
use std::time::Duration;

/// The most that one read or write moves, in bytes.
const MAX_CHUNK: usize = 1 << 20;

/// The host as one instance sees it. A copy is cheap.
#[derive(Clone)]
pub struct Host(Rc<Inner>);

struct Inner {
    instance: String,
    secrets: BTreeMap<String, String>,
    secret_keys: Granted,
}

/// Which secrets the grants allow.
enum Granted {
    None,
    All,
    Some(Vec<String>),
}

/// How bad a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    Debug = -4,
    Info = 0,
    Warn = 4,
    Error = 8,
}

impl Host {
    pub(crate) fn new(instance: &str, secrets: BTreeMap<String, String>, grants: &[Json]) -> Host {
        let mut secret_keys = Granted::None;
        for grant in grants.iter().filter(|g| g.text("cap") == "secret.read") {
            let keys = grant.member("args").get("keys").map(|_| grant.member("args").texts("keys"));
            secret_keys = match (secret_keys, keys) {
                (Granted::All, _) | (_, None) => Granted::All,
                (Granted::None, Some(keys)) => Granted::Some(keys),
                (Granted::Some(mut all), Some(keys)) => {
                    all.extend(keys);
                    Granted::Some(all)
                }
            };
        }
        Host(Rc::new(Inner { instance: instance.into(), secrets, secret_keys }))
    }

    /// The name that the host gave to the instance.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// Writes one line with its fields to the log.
    pub fn log(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let mut line = String::from("{\"msg\":");
        write_text(message, &mut line);
        for (name, v) in [("instance", self.0.instance.as_str())].iter().chain(fields) {
            line.push(',');
            write_text(name, &mut line);
            line.push(':');
            write_text(v, &mut line);
        }
        line.push('}');
        sys::log(level as i32, line.as_bytes());
    }

    /// Writes one line of level info to the log.
    pub fn info(&self, message: &str) {
        self.log(Level::Info, message, &[]);
    }

    /// Writes one line of level warn to the log.
    pub fn warn(&self, message: &str) {
        self.log(Level::Warn, message, &[]);
    }

    /// The host's clock. Detectors use the time in the records instead, so that a replay gives the same result.
    pub fn now(&self) -> Time {
        now()
    }

    /// A secret by the path of its configuration field (permission secret.read). A granted secret also stands in that
    /// field.
    pub fn secret(&self, name: &str) -> Result<&str> {
        let granted = match &self.0.secret_keys {
            Granted::None => false,
            Granted::All => true,
            Granted::Some(keys) => keys.iter().any(|k| k == name),
        };
        if !granted {
            return Err(Error::new(crate::Class::PermissionDenied, format!("no grant of secret.read covers {}", name)));
        }
        let found = self.0.secrets.get(name);
        found.map(String::as_str).ok_or_else(|| Error::invalid_config(format!("the secret {:?} is not set", name)))
    }

    /// A value of the instance's own state, which survives restarts; nothing for a missing key.
    pub fn state_get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let answer = answer(sys::state_get(self.request("key", key).to_string().as_bytes()))?;
        match answer.split_first() {
            Some((1, value)) => Ok(Some(value.to_vec())),
            _ => Ok(None),
        }
    }

    /// Keeps a value: keys of at most 128 bytes, values of at most 1 MiB, 16 MiB in all.
    pub fn state_put(&self, key: &str, value: &[u8]) -> Result<()> {
        done(sys::state_put(&framed(&self.request("key", key), value))).map(|_| ())
    }

    /// Opens a connection: network "tcp" or "udp" to host:port (permission net.dial), or "unix" to a path (permission
    /// unix.connect). The host resolves names.
    pub fn dial(&self, network: &str, address: &str, timeout: Option<Duration>) -> Result<Conn> {
        let mut request = Object::new();
        request.put("instance", self.0.instance.as_str());
        request.put("network", network);
        request.put("address", address);
        put_duration(&mut request, "timeout", timeout);
        let opened = parse(&answer(sys::dial(Json::from(request).to_string().as_bytes()))?)?;
        Ok(Conn { handle: handle(&opened)?, local: opened.text("local").into(), remote: opened.text("remote").into() })
    }

    /// Opens a file for reading by its absolute path (permission fs.read).
    pub fn open(&self, name: &str) -> Result<File> {
        let opened = parse(&answer(sys::open(self.request("name", name).to_string().as_bytes()))?)?;
        let info = opened.member("file");
        Ok(File {
            handle: handle(&opened)?,
            size: info.member("size").as_u64().unwrap_or(0),
            modified: Time::of(info.member("modified")),
        })
    }

    /// Opens a model or a data pack by its id, namespace/name. plugin.yaml names it, and the versions that will do, under
    /// requires; it was installed with the plugin, so no permission is needed.
    pub fn model(&self, id: &str) -> Result<Model> {
        if !valid_id(id) {
            // the host would take it for a path
            return Err(Error::internal(format!(
                "open model {:?}: that is not the id of a release, namespace/name",
                id
            )));
        }
        let opened = parse(&answer(sys::open(self.request("name", id).to_string().as_bytes()))?)?;
        let (handle, model) = (handle(&opened)?, opened.member("model"));
        let size = opened.member("file").member("size").as_u64().unwrap_or(0);
        let file = File { handle, size, modified: Time::of(opened.member("file").member("modified")) };
        if model == &Json::Null {
            return Err(Error::internal(format!("open model {}: the host answers without its release", id)));
        }
        Ok(Model { version: model.text("version").into(), digest: model.text("digest").into(), file })
    }

    /// Makes one HTTP request (permission net.dial) and reads the whole answer, at most 8 MiB. Redirects are not
    /// followed. Any status is an answer, not an error.
    pub fn fetch(&self, request: &Request) -> Result<Response> {
        let mut o = Object::new();
        o.put("instance", self.0.instance.as_str());
        o.put_text("method", &request.method);
        o.put("url", request.url.as_str());
        if !request.header.is_empty() {
            let mut header = Object::new();
            for (name, _) in &request.header {
                if header.get(name).is_none() {
                    let all: Vec<&str> = request.header.iter().filter(|h| h.0 == *name).map(|h| h.1.as_str()).collect();
                    header.put(name, all);
                }
            }
            o.put("header", header);
        }
        o.put_text("roots", &request.roots);
        put_duration(&mut o, "timeout", request.timeout);
        let data = answer(sys::fetch(&framed(&o.into(), &request.body)))?;
        let length = data.get(..4).map_or(usize::MAX, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let head =
            data.get(4..).and_then(|d| d.get(..length)).ok_or_else(|| Error::internal("the host's answer is cut"))?;
        let answer = parse(head)?;
        let mut header = Vec::new();
        if let Json::Object(all) = answer.member("header") {
            for (name, _) in &all.0 {
                header.extend(answer.member("header").texts(name).into_iter().map(|v| (name.clone(), v)));
            }
        }
        let status = answer.member("status").as_u64().and_then(|s| u16::try_from(s).ok()).unwrap_or(0);
        Ok(Response { status, header, body: data[4 + length..].to_vec() })
    }

    fn request(&self, name: &str, value: &str) -> Json {
        let mut o = Object::new();
        o.put("instance", self.0.instance.as_str());
        o.put(name, value);
        o.into()
    }
}

pub(crate) fn now() -> Time {
    Time::from_nanos(sys::now())
}

/// One HTTP request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// "" is GET.
    pub method: String,
    /// http or https.
    pub url: String,
    /// Names and values.
    pub header: Vec<(String, String)>,
    /// At most 8 MiB.
    pub body: Vec<u8>,
    /// Certificates in PEM form to trust instead of the system's; "" for the system's.
    pub roots: String,
    /// For all of it; nothing leaves it to the deadline of the call.
    pub timeout: Option<Duration>,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug)]
pub struct Response {
    /// For example 200.
    pub status: u16,
    /// Canonical names, for example "Content-Type", and values.
    pub header: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

/// A connection. It is closed when it is dropped.
pub struct Conn {
    handle: u32,
    local: String,
    remote: String,
}

impl Conn {
    /// The own address.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The address of the other side.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// When reading and writing fail with a time-out; nothing for never.
    pub fn deadline(&self, when: Option<Time>) -> Result<()> {
        done(sys::deadline(self.handle, 3, when.map_or(0, Time::nanos))).map(|_| ())
    }
}

impl Read for Conn {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read(self.handle, into)
    }
}

impl Write for Conn {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let from = &from[..from.len().min(MAX_CHUNK)];
        io_done(sys::write(self.handle, from)).map(|n| n as usize)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let _ = done(sys::close(self.handle)); // there is nobody left to tell
    }
}

/// A file that is read. It is closed when it is dropped.
pub struct File {
    handle: u32,
    size: u64,
    modified: Time,
}

impl File {
    /// Its size when it was opened, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When it was changed.
    pub fn modified(&self) -> Time {
        self.modified
    }
}

impl Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read(self.handle, into)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (offset, whence) = match to {
            SeekFrom::Start(n) => (i64::try_from(n).unwrap_or(i64::MAX), 0),
            SeekFrom::Current(n) => (n, 1),
            SeekFrom::End(n) => (n, 2),
        };
        io_done(sys::seek(self.handle, offset, whence)).map(|n| n as u64)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = done(sys::close(self.handle)); // there is nobody left to tell
    }
}

/// A model or a data pack that was installed with the plugin. Nobody can change its bytes: another release of it means
/// another start. It is closed when it is dropped.
pub struct Model {
    version: String,
    digest: String,
    file: File,
}

impl Model {
    /// The version of its release.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// SHA-256 of its bytes, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.file.size
    }

    /// All of it, copied into the guest's memory.
    pub fn read_all(&mut self) -> Result<Vec<u8>> {
        let size =
            usize::try_from(self.size()).map_err(|_| Error::internal("the model is larger than a guest's memory"))?;
        let mut data = vec![0; size];
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.read_exact(&mut data));
        read.map(|_| data).map_err(|e| Error::internal(format!("read the model: {}", e)))
    }
}

impl Read for Model {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl Seek for Model {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Whether it is namespace/name, which no path looks like.
fn valid_id(id: &str) -> bool {
    let part = |p: &str| {
        p.starts_with(|c: char| c.is_ascii_lowercase())
            && p.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    id.len() <= 128 && id.split_once('/').map_or(false, |(ns, name)| part(ns) && part(name))
}

fn read(handle: u32, into: &mut [u8]) -> io::Result<usize> {
    if into.is_empty() {
        return Ok(0);
    }
    let most = into.len().min(MAX_CHUNK);
    let n = io_done(sys::read(handle, &mut into[..most]))?;
    Ok((n as usize).min(most))
}

fn put_duration(o: &mut Object, name: &str, d: Option<Duration>) {
    if let Some(d) = d {
        o.put(name, i64::try_from(d.as_nanos()).unwrap_or(i64::MAX));
    }
}

/// A JSON header with its length in front, and the body.
fn framed(header: &Json, body: &[u8]) -> Vec<u8> {
    let head = header.to_string();
    let mut out = Vec::with_capacity(4 + head.len() + body.len());
    out.extend_from_slice(&(head.len() as u32).to_le_bytes());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
    out
}

/// The answer of n bytes that waits at the host.
fn take(n: i64) -> Vec<u8> {
    let mut data = vec![0; usize::try_from(n).unwrap_or(0)];
    let got = sys::take(&mut data) as usize;
    data.truncate(got);
    data
}

/// The error of a result below 0, with whether it is a time-out.
fn failure(result: i64) -> (Error, bool) {
    match parse(&take(result.saturating_neg())) {
        Ok(v) => (Error::from_json(&v), v.member("timeout") == &Json::Bool(true)),
        Err(e) => (e, false),
    }
}

fn done(result: i64) -> Result<i64> {
    if result < 0 {
        return Err(failure(result).0);
    }
    Ok(result)
}

fn io_done(result: i64) -> io::Result<i64> {
    if result >= 0 {
        return Ok(result);
    }
    let (e, timeout) = failure(result);
    let kind = match e.class {
        _ if timeout => io::ErrorKind::TimedOut,
        crate::Class::PermissionDenied => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    Err(io_error(kind, e))
}

fn answer(result: i64) -> Result<Vec<u8>> {
    done(result).map(take)
}

fn parse(data: &[u8]) -> Result<Json> {
    Json::parse(data).map_err(|e| Error::internal(format!("the host's answer: {}", e)))
}

fn handle(opened: &Json) -> Result<u32> {
    let n = opened.member("handle").as_u64().and_then(|n| u32::try_from(n).ok());
    n.ok_or_else(|| Error::internal("the host's answer has no handle"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    #[test]
    fn secrets_need_a_grant() {
        let secrets: BTreeMap<_, _> = [("a".to_string(), "hush".to_string())].into_iter().collect();
        let host = |grants: &str| Host::new("i", secrets.clone(), &[Json::parse(grants.as_bytes()).unwrap()]);
        assert_eq!(host(r#"{"cap":"secret.read","args":{"keys":["a"]}}"#).secret("a").unwrap(), "hush");
        assert_eq!(host(r#"{"cap":"secret.read"}"#).secret("b").unwrap_err().class, Class::InvalidConfig);
        for grants in [r#"{"cap":"secret.read","args":{"keys":[]}}"#, r#"{"cap":"net.dial"}"#] {
            assert_eq!(host(grants).secret("a").unwrap_err().class, Class::PermissionDenied);
        }
    }

    #[test]
    fn a_model_is_read() {
        sys::put_model("acme/words", b"the words");
        let host = Host::new("i", BTreeMap::new(), &[]);
        let mut m = host.model("acme/words").unwrap();
        assert_eq!((m.version(), m.size()), ("0.0.0", 9));
        assert_eq!(m.read_all().unwrap(), b"the words");
        let mut end = String::new();
        m.seek(SeekFrom::Start(4)).unwrap();
        m.read_to_string(&mut end).unwrap();
        assert_eq!(end, "words");
        assert_eq!(m.read_all().unwrap().len(), 9);
        for bad in ["/etc/passwd", "words", "acme/words/more", "Acme/words", "../words", ""] {
            assert_eq!(host.model(bad).err().unwrap().class, Class::Internal, "{}", bad);
        }
        assert_eq!(host.model("acme/other").err().unwrap().class, Class::Unsupported);
    }

    #[test]
    fn without_a_host() {
        let host = Host::new("i", BTreeMap::new(), &[]);
        let errors = [
            host.state_get("k").unwrap_err(),
            host.dial("tcp", "x:1", None).err().unwrap(),
            host.open("/x").err().unwrap(),
            host.model("acme/words").err().unwrap(),
            host.fetch(&Request::default()).unwrap_err(),
        ];
        for e in errors {
            assert_eq!(e.class, Class::Unsupported, "{}", e);
        }
        assert!(host.now().nanos() > 0);
    }
}
