//! The functions that a guest imports from its runner. Outside of a guest, in an author's own tests, the log goes to
//! stderr, the clock is the system's, models are those that the test put there, and everything else answers that it is not
//! there.

#[cfg(target_arch = "wasm32")]
mod imports {
    // The runner reads and writes only inside of what it is given; the addresses are those of live slices.
    mod raw {
        #[link(wasm_import_module = "picket")]
        extern "C" {
            pub fn log(level: i32, ptr: *const u8, len: u32);
            pub fn now() -> i64;
            pub fn dial(ptr: *const u8, len: u32) -> i64;
            pub fn open(ptr: *const u8, len: u32) -> i64;
            pub fn fetch(ptr: *const u8, len: u32) -> i64;
            pub fn state_get(ptr: *const u8, len: u32) -> i64;
            pub fn state_put(ptr: *const u8, len: u32) -> i64;
            pub fn read(handle: u32, ptr: *mut u8, len: u32) -> i64;
            pub fn write(handle: u32, ptr: *const u8, len: u32) -> i64;
            pub fn seek(handle: u32, offset: i64, whence: u32) -> i64;
            pub fn deadline(handle: u32, which: u32, when: i64) -> i64;
            pub fn close(handle: u32) -> i64;
            pub fn take(ptr: *mut u8, len: u32) -> u32;
        }
    }

    pub fn log(level: i32, line: &[u8]) {
        unsafe { raw::log(level, line.as_ptr(), line.len() as u32) }
    }
    pub fn now() -> i64 {
        unsafe { raw::now() }
    }
    pub fn dial(request: &[u8]) -> i64 {
        unsafe { raw::dial(request.as_ptr(), request.len() as u32) }
    }
    pub fn open(request: &[u8]) -> i64 {
        unsafe { raw::open(request.as_ptr(), request.len() as u32) }
    }
    pub fn fetch(request: &[u8]) -> i64 {
        unsafe { raw::fetch(request.as_ptr(), request.len() as u32) }
    }
    pub fn state_get(request: &[u8]) -> i64 {
        unsafe { raw::state_get(request.as_ptr(), request.len() as u32) }
    }
    pub fn state_put(request: &[u8]) -> i64 {
        unsafe { raw::state_put(request.as_ptr(), request.len() as u32) }
    }
    pub fn read(handle: u32, into: &mut [u8]) -> i64 {
        unsafe { raw::read(handle, into.as_mut_ptr(), into.len() as u32) }
    }
    pub fn write(handle: u32, from: &[u8]) -> i64 {
        unsafe { raw::write(handle, from.as_ptr(), from.len() as u32) }
    }
    pub fn seek(handle: u32, offset: i64, whence: u32) -> i64 {
        unsafe { raw::seek(handle, offset, whence) }
    }
    pub fn deadline(handle: u32, which: u32, when: i64) -> i64 {
        unsafe { raw::deadline(handle, which, when) }
    }
    pub fn close(handle: u32) -> i64 {
        unsafe { raw::close(handle) }
    }
    pub fn take(into: &mut [u8]) -> u32 {
        unsafe { raw::take(into.as_mut_ptr(), into.len() as u32) }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imports {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static MODELS: RefCell<BTreeMap<String, Vec<u8>>> = RefCell::default();
        static OPENED: RefCell<Vec<(Vec<u8>, usize)>> = RefCell::default();
        static WAITING: RefCell<Option<Vec<u8>>> = RefCell::default();
    }

    /// Has a model of a test opened by its id.
    pub fn put_model(id: &str, bytes: &[u8]) {
        MODELS.with(|m| m.borrow_mut().insert(id.into(), bytes.to_vec()));
    }

    const ABSENT: &[u8] = br#"{"class":"unsupported","message":"there is no host here: this is no guest"}"#;

    pub fn log(_: i32, line: &[u8]) {
        eprintln!("{}", String::from_utf8_lossy(line));
    }
    pub fn now() -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
    }
    fn absent() -> i64 {
        -(ABSENT.len() as i64)
    }
    pub fn dial(_: &[u8]) -> i64 {
        absent()
    }
    pub fn open(request: &[u8]) -> i64 {
        let request = crate::json::Json::parse(request).unwrap_or(crate::json::Json::Null);
        let found = MODELS.with(|m| m.borrow().get(request.text("name")).cloned());
        let bytes = match found {
            Some(bytes) => bytes,
            None => return absent(),
        };
        let size = bytes.len();
        let handle = OPENED.with(|o| {
            o.borrow_mut().push((bytes, 0));
            o.borrow().len()
        });
        let model = r#"{"version":"0.0.0","digest":""}"#;
        let answer = format!(r#"{{"handle":{},"file":{{"size":{}}},"model":{}}}"#, handle, size, model).into_bytes();
        let n = answer.len() as i64;
        WAITING.with(|w| *w.borrow_mut() = Some(answer));
        n
    }
    fn opened(handle: u32, act: impl FnOnce(&[u8], &mut usize) -> i64) -> i64 {
        OPENED.with(|o| match o.borrow_mut().get_mut((handle as usize).wrapping_sub(1)) {
            Some((bytes, at)) => act(bytes, at),
            None => absent(),
        })
    }
    pub fn fetch(_: &[u8]) -> i64 {
        absent()
    }
    pub fn state_get(_: &[u8]) -> i64 {
        absent()
    }
    pub fn state_put(_: &[u8]) -> i64 {
        absent()
    }
    pub fn read(handle: u32, into: &mut [u8]) -> i64 {
        opened(handle, |bytes, at| {
            let rest = &bytes[(*at).min(bytes.len())..];
            let n = rest.len().min(into.len());
            into[..n].copy_from_slice(&rest[..n]);
            *at += n;
            n as i64
        })
    }
    pub fn write(_: u32, _: &[u8]) -> i64 {
        absent()
    }
    pub fn seek(handle: u32, offset: i64, whence: u32) -> i64 {
        opened(handle, |bytes, at| {
            let from = [0, *at as i64, bytes.len() as i64];
            *at = from.get(whence as usize).map_or(0, |f| (f + offset).max(0) as usize);
            *at as i64
        })
    }
    pub fn deadline(_: u32, _: u32, _: i64) -> i64 {
        absent()
    }
    pub fn close(_: u32) -> i64 {
        absent()
    }
    pub fn take(into: &mut [u8]) -> u32 {
        let answer = WAITING.with(|w| w.borrow_mut().take()).unwrap_or_else(|| ABSENT.to_vec());
        let n = into.len().min(answer.len());
        into[..n].copy_from_slice(&answer[..n]);
        n as u32
    }
}

pub(crate) use imports::*;
