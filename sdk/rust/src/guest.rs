//! The plugins of a guest, and the calls of its runner.

use crate::config::{self, Config};
use crate::error::Class;
use crate::frame::{self, Row, Rows};
use crate::host::{self, Host};
use crate::json::{from_base64, to_base64, write_text, Json, Object};
use crate::model::*;
use crate::rows::{Flow, Packet, FACTS};
use crate::{Error, Result, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// What every instance of a plugin has. It gets one call at a time; it ends when it is dropped, after
/// [`stop`](Instance::stop).
pub trait Instance: Sized + 'static {
    /// The struct of its configuration, or `()`.
    type Config: Config;
    /// Whether it keeps state over an upgrade or a crash: then [`snapshot`](Instance::snapshot) and
    /// [`restore`](Instance::restore) do the work.
    const SNAPSHOTS: bool = false;

    /// Makes an instance from its configuration, which is checked before. Whatever else is wrong with it is an
    /// [`Error::invalid_config`].
    fn start(config: Self::Config, host: Host) -> Result<Self>;

    /// Is called once at the end.
    fn stop(&mut self) -> Result<()> {
        Ok(())
    }

    /// Says whether the instance can work.
    fn health(&mut self) -> Result<()> {
        Ok(())
    }

    /// The state, at most 16 MiB. Begin it with a version of its own.
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Err(Error::unsupported("this plugin keeps no state"))
    }

    /// Takes what [`snapshot`](Instance::snapshot) gave, perhaps in the version before.
    fn restore(&mut self, _state: &[u8]) -> Result<()> {
        Err(Error::unsupported("this plugin keeps no state"))
    }
}

/// Measures something each time it is asked.
pub trait Collector: Instance {
    /// Measures once.
    fn collect(&mut self, request: &CollectRequest, sink: &mut Sink<Sample>) -> Result<()>;
}

/// Finds devices inside a scope and never leaves it.
pub trait Discoverer: Instance {
    /// Looks once.
    fn discover(&mut self, scope: &Scope, sink: &mut Sink<Sighting>) -> Result<()>;
}

/// Judges batches of the records that it subscribed to, in order of time.
pub trait Detector: Instance {
    /// Looks at one batch. How the records are cut into batches must not change what is found.
    fn inspect(&mut self, batch: &Batch<'_>, sink: &mut Sink<Finding>) -> Result<()>;

    /// The capture has ended: report what is still pending and forget what was seen.
    fn flush(&mut self, sink: &mut Sink<Finding>) -> Result<()>;
}

/// Delivers notices. The class of the error decides whether the host tries again.
pub trait Notifier: Instance {
    /// Whether [`undo`](Notifier::undo) works.
    const UNDOES: bool = false;
    /// Whether [`status`](Notifier::status) works.
    const REPORTS_STATUS: bool = false;

    /// Delivers one.
    fn notify(&mut self, notice: &Notice) -> Result<Receipt>;

    /// Takes back what was done, by the receipt that [`notify`](Notifier::notify) gave.
    fn undo(&mut self, _receipt: &Receipt) -> Result<()> {
        Err(Error::unsupported("this plugin cannot take back what it did"))
    }

    /// Says what became of what was delivered.
    fn status(&mut self, _receipt: &Receipt) -> Result<DeliveryStatus> {
        Err(Error::unsupported("this plugin does not know what became of it"))
    }
}

/// Declares one plugin: see [`collector`], [`discovery`], [`detector`] and [`notifier`].
pub struct Plugin {
    id: &'static str,
    kind: &'static str,
    summary: &'static str,
    rules: Vec<Rule>,
    subscription: Object,
    flags: Vec<&'static str>,
    schema: fn() -> Result<Json, String>,
    start: fn(&Json, BTreeMap<String, String>, Host) -> Result<Box<dyn Work>>,
}

fn plugin<T: Instance>(id: &'static str, kind: &'static str, summary: &'static str, start: StartFn) -> Plugin {
    let flags = if T::SNAPSHOTS { vec!["snapshots"] } else { Vec::new() };
    Plugin {
        id,
        kind,
        summary,
        rules: Vec::new(),
        subscription: Object::new(),
        flags,
        schema: config::schema::<T::Config>,
        start,
    }
}

type StartFn = fn(&Json, BTreeMap<String, String>, Host) -> Result<Box<dyn Work>>;

fn start<T: Instance>(config: &Json, secrets: BTreeMap<String, String>, host: Host) -> Result<T> {
    T::start(config::decode(config, &secrets)?, host)
}

/// Declares a collector by its id, namespace/name, and one sentence about it.
pub fn collector<T: Collector>(id: &'static str, summary: &'static str) -> Plugin {
    plugin::<T>(id, "collector", summary, |c, s, h| Ok(Box::new(Collecting(start::<T>(c, s, h)?))))
}

/// Declares a discovery plugin by its id, namespace/name, and one sentence about it.
pub fn discovery<T: Discoverer>(id: &'static str, summary: &'static str) -> Plugin {
    plugin::<T>(id, "discovery", summary, |c, s, h| Ok(Box::new(Discovering(start::<T>(c, s, h)?))))
}

/// Declares a detector by its id, namespace/name, and one sentence about it. It also needs [`Plugin::flows`],
/// [`Plugin::facts`] or [`Plugin::packets`], and a [`Plugin::rule`] for each thing that it can find.
pub fn detector<T: Detector>(id: &'static str, summary: &'static str) -> Plugin {
    plugin::<T>(id, "detector", summary, |c, s, h| Ok(Box::new(Detecting(start::<T>(c, s, h)?))))
}

/// Declares a notifier by its id, namespace/name, and one sentence about it.
pub fn notifier<T: Notifier>(id: &'static str, summary: &'static str) -> Plugin {
    let mut p = plugin::<T>(id, "notifier", summary, |c, s, h| Ok(Box::new(Notifying(start::<T>(c, s, h)?))));
    p.flags.extend([(T::UNDOES, "undoes"), (T::REPORTS_STATUS, "reports_status")].iter().filter(|f| f.0).map(|f| f.1));
    p
}

impl Plugin {
    /// A detector wants flows (permission flows.read).
    pub fn flows(mut self) -> Plugin {
        self.subscription.put("flows", true);
        self
    }

    /// With [`Plugin::flows`], a detector wants the further features of the flows.
    pub fn features(mut self) -> Plugin {
        self.subscription.put("features", true);
        self
    }

    /// A detector wants facts of these kinds (permission facts.read): "dns", "tls", "http", "smb", "dhcp", "arp", "ot",
    /// "files", "logins", "messages"; "contents", which is what is in files, has a permission of its own, files.read.
    pub fn facts(mut self, kinds: &[&str]) -> Plugin {
        self.subscription.put("facts", kinds);
        self
    }

    /// A detector wants packets that hold one of the layers ("arp", "ipv4", "ipv6", "icmp", "tcp", "udp", "dns", "dhcp";
    /// none means all), each cut to so many bytes (permission packets.read).
    pub fn packets(mut self, layers: &[&str], snaplen: u32) -> Plugin {
        let mut o = Object::new();
        if !layers.is_empty() {
            o.put("layers", layers);
        }
        o.put("snaplen", snaplen);
        self.subscription.put("packets", o);
        self
    }

    /// Adds something that a detector can find.
    pub fn rule(mut self, rule: Rule) -> Plugin {
        self.rules.push(rule);
        self
    }

    fn describe(&self) -> Result<Json> {
        let mut o = Object::new();
        o.put("id", self.id);
        o.put("kind", self.kind);
        o.put("summary", self.summary);
        if !self.rules.is_empty() {
            o.put("rules", Json::List(self.rules.iter().map(Rule::to_json).collect()));
        }
        o.put("subscription", self.subscription.clone());
        o.put("config_schema", (self.schema)().map_err(|e| Error::internal(format!("describe {}: {}", self.id, e)))?);
        self.flags.iter().for_each(|flag| o.put(flag, true));
        Ok(o.into())
    }
}

/// Work is an instance of any kind; what its kind cannot do is refused.
trait Work {
    fn collect(&mut self, _: &CollectRequest, _: &mut Sink<Sample>) -> Result<()> {
        wrong_kind()
    }
    fn discover(&mut self, _: &Scope, _: &mut Sink<Sighting>) -> Result<()> {
        wrong_kind()
    }
    fn inspect(&mut self, _: &Batch<'_>, _: &mut Sink<Finding>) -> Result<()> {
        wrong_kind()
    }
    fn flush(&mut self, _: &mut Sink<Finding>) -> Result<()> {
        wrong_kind()
    }
    fn notify(&mut self, _: &Notice) -> Result<Receipt> {
        wrong_kind()
    }
    fn undo(&mut self, _: &Receipt) -> Result<()> {
        wrong_kind()
    }
    fn status(&mut self, _: &Receipt) -> Result<DeliveryStatus> {
        wrong_kind()
    }
    fn health(&mut self) -> Result<()>;
    fn snapshot(&mut self) -> Result<Vec<u8>>;
    fn restore(&mut self, state: &[u8]) -> Result<()>;
    fn stop(&mut self) -> Result<()>;
}

fn wrong_kind<T>() -> Result<T> {
    Err(Error::unsupported("a plugin of this kind cannot do that"))
}

macro_rules! work {
    ($name:ident $trait:ident { $($method:item)* }) => {
        struct $name<T>(T);

        impl<T: $trait> Work for $name<T> {
            $($method)*
            fn health(&mut self) -> Result<()> {
                self.0.health()
            }
            fn snapshot(&mut self) -> Result<Vec<u8>> {
                self.0.snapshot()
            }
            fn restore(&mut self, state: &[u8]) -> Result<()> {
                self.0.restore(state)
            }
            fn stop(&mut self) -> Result<()> {
                self.0.stop()
            }
        }
    };
}

work!(Collecting Collector {
    fn collect(&mut self, request: &CollectRequest, sink: &mut Sink<Sample>) -> Result<()> {
        self.0.collect(request, sink)
    }
});

work!(Discovering Discoverer {
    fn discover(&mut self, scope: &Scope, sink: &mut Sink<Sighting>) -> Result<()> {
        self.0.discover(scope, sink)
    }
});

work!(Detecting Detector {
    fn inspect(&mut self, batch: &Batch<'_>, sink: &mut Sink<Finding>) -> Result<()> {
        self.0.inspect(batch, sink)
    }
    fn flush(&mut self, sink: &mut Sink<Finding>) -> Result<()> {
        self.0.flush(sink)
    }
});

work!(Notifying Notifier {
    fn notify(&mut self, notice: &Notice) -> Result<Receipt> {
        self.0.notify(notice)
    }
    fn undo(&mut self, receipt: &Receipt) -> Result<()> {
        self.0.undo(receipt)
    }
    fn status(&mut self, receipt: &Receipt) -> Result<DeliveryStatus> {
        self.0.status(receipt)
    }
});

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Op {
    Describe = 1,
    Configure,
    Collect,
    Discover,
    Inspect,
    Flush,
    Notify,
    Health,
    Snapshot,
    Restore,
    Stop,
    Undo,
    Status,
}

const OPS: [Op; 13] = [
    Op::Describe,
    Op::Configure,
    Op::Collect,
    Op::Discover,
    Op::Inspect,
    Op::Flush,
    Op::Notify,
    Op::Health,
    Op::Snapshot,
    Op::Restore,
    Op::Stop,
    Op::Undo,
    Op::Status,
];

struct Running {
    plugin: usize,
    work: Box<dyn Work>,
}

/// The largest request, in bytes.
const MAX_MESSAGE: u32 = 20 << 20;
const MAX_INSTANCES: usize = 1024;
const MAX_STATE: usize = 16 << 20;

/// All plugins and instances of one guest.
pub struct Guest {
    plugins: Vec<Plugin>,
    instances: BTreeMap<String, Running>,
    requests: BTreeMap<u32, Vec<u8>>,
    answer: String,
}

impl Guest {
    /// A guest with these plugins.
    pub fn new(plugins: Vec<Plugin>) -> Guest {
        Guest { plugins, instances: BTreeMap::new(), requests: BTreeMap::new(), answer: String::new() }
    }

    /// Memory for a request of so many bytes, 0 when that is too much.
    #[doc(hidden)]
    pub fn alloc(&mut self, size: u32) -> u32 {
        if size == 0 || size > MAX_MESSAGE {
            return 0;
        }
        let memory = vec![0; size as usize];
        let ptr = memory.as_ptr() as usize as u32;
        self.requests.insert(ptr, memory);
        ptr
    }

    #[doc(hidden)]
    pub fn free(&mut self, ptr: u32) {
        self.requests.remove(&ptr);
    }

    /// Does one operation on a request that lies in memory from alloc: the address of the answer in the upper half, its
    /// length in the lower.
    #[doc(hidden)]
    pub fn call_at(&mut self, op: u32, ptr: u32, length: u32) -> u64 {
        let memory = self.requests.remove(&ptr);
        let request = memory.as_ref().and_then(|m| m.get(..length as usize)).unwrap_or(&[]);
        self.answer = self.call(op, request);
        if let Some(m) = memory {
            self.requests.insert(ptr, m);
        }
        if self.answer.is_empty() {
            return 0;
        }
        u64::from(self.answer.as_ptr() as usize as u32) << 32 | self.answer.len() as u64
    }

    /// Does one operation. An empty answer means that all went well and there is nothing to say.
    pub fn call(&mut self, op: u32, request: &[u8]) -> String {
        let mut answer = Answer::default();
        let result = match OPS.iter().find(|o| **o as u32 == op) {
            Some(Op::Inspect) => self.inspect(request, &mut answer),
            Some(op) => self.control(*op, request, &mut answer),
            None => Err(Error::unsupported(format!("this guest does not know operation {}", op))),
        };
        if let Err(e) = result {
            answer.part("error", &e.to_json().to_string());
        }
        answer.finish()
    }

    fn inspect(&mut self, request: &[u8], answer: &mut Answer) -> Result<()> {
        let length = request.get(..4).map_or(usize::MAX, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let bad = || Error::internal(format!("inspect request of {} bytes", request.len()));
        let head = request.get(4..).and_then(|r| r.get(..length)).ok_or_else(bad)?;
        let head = Json::parse(head).map_err(|e| Error::internal(format!("inspect request: {}", e)))?;
        let frame = &request[4 + length..];
        let refused = |e: String| Error::internal(format!("not a valid record frame: {}", e));
        let mut batch = Batch { capture: head.text("capture"), flows: Rows::NONE, packets: Rows::NONE, frame };
        match frame::schema(frame).map_err(refused)? {
            Packet::SCHEMA => batch.packets = Rows::<Packet>::parse(frame).map_err(refused)?,
            Flow::SCHEMA => batch.flows = Rows::<Flow>::parse(frame).map_err(refused)?,
            schema if FACTS.contains(&schema) => {} // they are parsed when somebody asks for them
            schema => return Err(refused(format!("no schema has the id {}", schema))),
        }
        self.detect(head.text("instance"), answer, |work, sink| work.inspect(&batch, sink))
    }

    fn detect(
        &mut self,
        id: &str,
        answer: &mut Answer,
        work: impl FnOnce(&mut dyn Work, &mut Sink<Finding>) -> Result<()>,
    ) -> Result<()> {
        let running = running(&mut self.instances, id)?;
        let p = &self.plugins[running.plugin];
        let mut sink = Sink::new((p.id.to_string(), p.rules.iter().map(|r| r.id).collect()));
        let result = work(&mut *running.work, &mut sink);
        let result = sink.result(result);
        answer.list("findings", sink.into_json());
        result
    }

    fn control(&mut self, op: Op, request: &[u8], answer: &mut Answer) -> Result<()> {
        let req = match request {
            [] => Json::Null,
            // The runner made the request; what may be wrong in it is the operator's part.
            _ if op == Op::Configure => {
                Json::parse(request).map_err(|e| Error::invalid_config(format!("configuration: {}", e)))?
            }
            _ => Json::parse(request).map_err(|e| Error::internal(format!("request: {}", e)))?,
        };
        let id = req.text("instance");
        match op {
            Op::Describe => self.describe(answer),
            Op::Configure => self.configure(req.member("configure")),
            Op::Collect => {
                let time = Time::of(req.member("time"));
                let interval = Duration::from_nanos(req.member("interval").as_u64().unwrap_or(0));
                let mut sink = Sink::new(if time.is_set() { time } else { host::now() });
                let result = self.work(id)?.collect(&CollectRequest { time, interval }, &mut sink);
                let result = sink.result(result);
                answer.list("samples", sink.into_json());
                result
            }
            Op::Discover => {
                let prefixes: Option<Vec<Prefix>> = req.texts("prefixes").iter().map(|p| Prefix::parse(p)).collect();
                let scope = Scope {
                    prefixes: prefixes.ok_or_else(|| Error::internal("the scope holds something that is no prefix"))?,
                };
                let mut sink = Sink::new((scope.clone(), host::now()));
                let result = self.work(id)?.discover(&scope, &mut sink);
                let result = sink.result(result);
                answer.list("sightings", sink.into_json());
                result
            }
            Op::Inspect => Err(Error::internal("inspect carries a frame")),
            Op::Flush => self.detect(id, answer, |work, sink| work.flush(sink)),
            Op::Notify => {
                let notice = req.get("notice").ok_or_else(|| Error::internal("notify without a notice"))?;
                let receipt = self.work(id)?.notify(&Notice::from_json(notice))?;
                answer.part("receipt", &receipt.to_json().to_string());
                Ok(())
            }
            Op::Undo => self.work(id)?.undo(&Receipt::from_json(req.member("receipt"))),
            Op::Status => {
                let status = self.work(id)?.status(&Receipt::from_json(req.member("receipt")))?;
                answer.part("status", &status.to_json().to_string());
                Ok(())
            }
            Op::Health => self.work(id)?.health(),
            Op::Snapshot => {
                let state = self.work(id)?.snapshot()?;
                if state.len() > MAX_STATE {
                    return Err(Error::internal(format!(
                        "snapshot of {} bytes is larger than {}",
                        state.len(),
                        MAX_STATE
                    )));
                }
                answer.part("state", &format!("\"{}\"", to_base64(&state)));
                Ok(())
            }
            Op::Restore => {
                let state = from_base64(req.text("state")).ok_or_else(|| Error::internal("the state is not base64"))?;
                self.work(id)?.restore(&state)
            }
            Op::Stop => match self.instances.remove(id) {
                Some(mut r) => r.work.stop(),
                None => Ok(()), // stopping what is not there is fine
            },
        }
    }

    fn work(&mut self, id: &str) -> Result<&mut dyn Work> {
        Ok(&mut *running(&mut self.instances, id)?.work)
    }

    fn describe(&self, answer: &mut Answer) -> Result<()> {
        let mut plugins: Vec<&Plugin> = self.plugins.iter().collect();
        plugins.sort_by_key(|p| p.id);
        let all: Result<Vec<Json>> = plugins.into_iter().map(Plugin::describe).collect();
        answer.part("plugins", &Json::List(all?).to_string());
        Ok(())
    }

    fn configure(&mut self, cfg: &Json) -> Result<()> {
        let (id, name) = (cfg.text("instance"), cfg.text("plugin"));
        let found = self.plugins.iter().position(|p| p.id == name);
        let plugin =
            found.ok_or_else(|| Error::invalid_config(format!("there is no plugin {:?} in this process", name)))?;
        if id.is_empty() || id.len() > 255 || !id.bytes().all(|c| c > b' ' && c < 0x7f) {
            return Err(Error::invalid_config(format!("instance name {:?}", id)));
        }
        if self.instances.contains_key(id) {
            return Err(Error::invalid_config(format!("instance {} exists already; stop it first", id)));
        }
        if self.instances.len() >= MAX_INSTANCES {
            return Err(Error::invalid_config(format!("this process has {} instances already", MAX_INSTANCES)));
        }
        let mut secrets = BTreeMap::new();
        if let Json::Object(o) = cfg.member("secrets") {
            secrets.extend(o.0.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_string()))));
        }
        let host = Host::new(id, secrets.clone(), cfg.list("grants"));
        let work = (self.plugins[plugin].start)(cfg.member("config"), secrets, host)?;
        self.instances.insert(id.to_string(), Running { plugin, work });
        Ok(())
    }
}

fn running<'a>(instances: &'a mut BTreeMap<String, Running>, id: &str) -> Result<&'a mut Running> {
    instances
        .get_mut(id)
        .ok_or_else(|| Error::new(Class::Internal, format!("there is no instance {:?} in this process", id)))
}

/// Answer is the JSON object of an answer, empty as long as it has no part.
#[derive(Default)]
struct Answer(String);

impl Answer {
    fn part(&mut self, name: &str, json: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        write_text(name, &mut self.0);
        self.0.push(':');
        self.0.push_str(json);
    }

    fn list(&mut self, name: &str, json: Option<String>) {
        if let Some(json) = json {
            self.part(name, &json);
        }
    }

    fn finish(mut self) -> String {
        if !self.0.is_empty() {
            self.0.push('}');
        }
        self.0
    }
}

/// Writes a panic to the host's log; the trap that follows ends the guest.
#[doc(hidden)]
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        crate::sys::log(host::Level::Error as i32, info.to_string().as_bytes());
    }));
}

/// Makes the plugins of this guest known to its runner: the exports, once in the library of the plugin.
///
/// ```ignore
/// picket_sdk::register![collector::<Hello>("acme/hello", "Says hello once per interval.")];
/// ```
#[macro_export]
macro_rules! register {
    ($($plugin:expr),+ $(,)?) => {
        /// The plugins of this guest.
        pub fn picket_plugins() -> ::std::vec::Vec<$crate::Plugin> {
            ::std::vec![$($plugin),+]
        }

        #[cfg(target_arch = "wasm32")]
        #[doc(hidden)]
        mod picket_exports {
            // A guest has one thread, and the runner waits for the end of a call: there is only one borrow at a time.
            fn with<R>(work: impl FnOnce(&mut $crate::Guest) -> R) -> R {
                static mut GUEST: ::std::option::Option<$crate::Guest> = ::std::option::Option::None;
                let guest = unsafe { &mut *::std::ptr::addr_of_mut!(GUEST) };
                work(guest.get_or_insert_with(|| {
                    $crate::log_panics();
                    $crate::Guest::new(super::picket_plugins())
                }))
            }

            #[no_mangle]
            pub extern "C" fn picket_alloc(size: u32) -> u32 {
                with(|guest| guest.alloc(size))
            }

            #[no_mangle]
            pub extern "C" fn picket_free(ptr: u32) {
                with(|guest| guest.free(ptr))
            }

            #[no_mangle]
            pub extern "C" fn picket_call(op: u32, ptr: u32, length: u32) -> u64 {
                with(|guest| guest.call_at(op, ptr, length))
            }
        }
    };
}
