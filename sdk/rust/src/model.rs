//! What the host and a plugin exchange, and what a plugin may emit.

use crate::frame::{Fact, Rows};
use crate::json::{Json, Object};
use crate::rows::{Flow, Packet};
use crate::{Error, Result, Time};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// ICMP, as in the IP header.
pub const PROTO_ICMP: u8 = 1;
/// TCP, as in the IP header.
pub const PROTO_TCP: u8 = 6;
/// UDP, as in the IP header.
pub const PROTO_UDP: u8 = 17;
/// ICMP for IPv6, as in the IP header.
pub const PROTO_ICMPV6: u8 = 58;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

const SEVERITIES: [(Severity, &str); 5] = [
    (Severity::Info, "info"),
    (Severity::Low, "low"),
    (Severity::Medium, "medium"),
    (Severity::High, "high"),
    (Severity::Critical, "critical"),
];

impl Severity {
    /// Its name, for example "high".
    pub fn name(self) -> &'static str {
        SEVERITIES.iter().find(|s| s.0 == self).map_or("info", |s| s.1)
    }

    fn of(name: &str) -> Severity {
        SEVERITIES.iter().find(|s| s.1 == name).map_or(Severity::Info, |s| s.0)
    }
}

/// One thing that a detector can find.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) id: &'static str,
    purpose: &'static str,
    severity: Severity,
    techniques: Vec<&'static str>,
    false_positives: Vec<&'static str>,
}

impl Rule {
    /// A rule with its id within the plugin, one sentence on its purpose, and its usual severity.
    pub fn new(id: &'static str, purpose: &'static str, severity: Severity) -> Rule {
        Rule { id, purpose, severity, techniques: Vec::new(), false_positives: Vec::new() }
    }

    /// Adds an ATT&CK technique, for example "T1046".
    pub fn technique(mut self, id: &'static str) -> Rule {
        self.techniques.push(id);
        self
    }

    /// Adds a known benign cause.
    pub fn false_positive(mut self, cause: &'static str) -> Rule {
        self.false_positives.push(cause);
        self
    }

    pub(crate) fn to_json(&self) -> Json {
        let mut o = Object::new();
        o.put("id", self.id);
        o.put("purpose", self.purpose);
        o.put("severity", self.severity.name());
        if !self.techniques.is_empty() {
            o.put("techniques", self.techniques.as_slice());
        }
        if !self.false_positives.is_empty() {
            o.put("false_positives", self.false_positives.as_slice());
        }
        o.into()
    }
}

/// What the host wants from one collection.
#[derive(Clone, Copy, Debug)]
pub struct CollectRequest {
    /// When the collection was due.
    pub time: Time,
    /// The time until the next one.
    pub interval: Duration,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// An address in it.
    pub addr: IpAddr,
    /// The length of the prefix.
    pub bits: u8,
}

impl Prefix {
    /// Reads a network such as "192.168.1.0/24".
    pub fn parse(text: &str) -> Option<Prefix> {
        let (addr, bits) = text.split_once('/')?;
        let plain =
            !bits.is_empty() && bits.bytes().all(|c| c.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
        let p = Prefix { addr: addr.parse().ok()?, bits: bits.parse().ok()? };
        if plain && p.bits <= p.width() {
            Some(p)
        } else {
            None
        }
    }

    fn width(&self) -> u8 {
        if self.addr.is_ipv4() {
            32
        } else {
            128
        }
    }

    /// Whether the address lies in the network. An IPv4 address inside of an IPv6 one counts as the former.
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, unmap(addr)) {
            (IpAddr::V4(p), IpAddr::V4(a)) => {
                (u32::from(p) ^ u32::from(a)).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(p), IpAddr::V6(a)) => {
                (u128::from(p) ^ u128::from(a)).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

fn unmap(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V6(a) => match a.segments() {
            [0, 0, 0, 0, 0, 0xffff, ..] => {
                let o = a.octets();
                IpAddr::from([o[12], o[13], o[14], o[15]])
            }
            _ => addr,
        },
        v4 => v4,
    }
}

/// Limits a discovery: it must not touch an address outside.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The networks.
    pub prefixes: Vec<Prefix>,
}

impl Scope {
    /// Whether the address lies inside.
    pub fn contains(&self, addr: IpAddr) -> bool {
        self.prefixes.iter().any(|p| p.contains(addr))
    }
}

/// Records of one kind for a detector: flows, packets, or facts. They are only valid during the call: copy what is kept. How the
/// records are cut into batches must not change what is found.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// Names the input, for evidence.
    pub capture: &'a str,
    /// Views of the flows.
    pub flows: Rows<'a, Flow<'a>>,
    /// Views of the packets.
    pub packets: Rows<'a, Packet<'a>>,
    pub(crate) frame: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Views of the facts of a kind, none when the batch holds something else: `for m in batch.facts::<DNS>()? {}`.
    pub fn facts<R: Fact<'a>>(&self) -> Result<Rows<'a, R>> {
        if crate::frame::schema(self.frame) != Ok(R::SCHEMA) {
            return Ok(Rows::NONE);
        }
        Rows::parse(self.frame).map_err(|e| Error::internal(format!("not a valid record frame: {}", e)))
    }
}

impl<'a> Flow<'a> {
    /// The time from the first to the last packet.
    pub fn duration(&self) -> Duration {
        self.end() - self.start()
    }

    /// Names the flow for the evidence of a finding.
    pub fn to_ref(&self) -> FlowRef {
        FlowRef {
            id: self.id(),
            community_id: self.community_id().to_string(),
            proto: proto_name(self.proto()).into(),
            src: addr_port(self.src(), self.src_port()),
            dst: addr_port(self.dst(), self.dst_port()),
        }
    }
}

/// An address as the Go SDK writes it, "invalid IP" for none.
pub fn addr_text(addr: Option<IpAddr>) -> String {
    match addr {
        Some(IpAddr::V6(a)) => v6_text(a),
        Some(a) => a.to_string(),
        None => "invalid IP".into(),
    }
}

/// Releases of Rust differ in how they write ::a.b.c.d; this is what Go writes.
fn v6_text(a: Ipv6Addr) -> String {
    match a.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => format!("::{:x}:{:x}", high, low),
        _ => a.to_string(),
    }
}

/// An address with a port as the Go SDK writes it.
pub fn addr_port(addr: Option<IpAddr>, port: u16) -> String {
    match addr {
        Some(IpAddr::V4(a)) => format!("{}:{}", a, port),
        Some(IpAddr::V6(a)) => format!("[{}]:{}", v6_text(a), port),
        None => "invalid AddrPort".into(),
    }
}

/// Names a flow in the evidence of a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct FlowRef {
    pub id: u64,
    pub community_id: String,
    pub proto: String,
    pub src: String,
    pub dst: String,
}

fn proto_name(proto: u8) -> &'static str {
    match proto {
        PROTO_ICMP => "icmp",
        PROTO_TCP => "tcp",
        PROTO_UDP => "udp",
        PROTO_ICMPV6 => "icmpv6",
        _ => "ip",
    }
}

impl FlowRef {
    /// Names the flow of a fact for the evidence of a finding, from what every fact has; none below IP, where the flow is 0.
    /// The flow is not closed yet, so its community id is not known.
    pub fn of_fact(
        flow: u64,
        proto: u8,
        client: (Option<IpAddr>, u16),
        server: (Option<IpAddr>, u16),
    ) -> Option<FlowRef> {
        (flow != 0).then(|| FlowRef {
            id: flow,
            community_id: String::new(),
            proto: proto_name(proto).into(),
            src: addr_port(client.0, client.1),
            dst: addr_port(server.0, server.1),
        })
    }

    fn to_json(&self) -> Json {
        let mut o = Object::new();
        o.put("id", self.id);
        o.put("community_id", self.community_id.as_str());
        o.put("proto", self.proto.as_str());
        o.put("src", self.src.as_str());
        o.put("dst", self.dst.as_str());
        o.into()
    }

    fn from_json(v: &Json) -> FlowRef {
        FlowRef {
            id: v.member("id").as_u64().unwrap_or(0),
            community_id: v.text("community_id").into(),
            proto: v.text("proto").into(),
            src: v.text("src").into(),
            dst: v.text("dst").into(),
        }
    }
}

/// What a detector says once. The host makes its id from what was found, so that a replay cannot double it.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Empty, unless it tells apart findings that have all the rest in common.
    pub id: String,
    /// The plugin; filled in by the SDK.
    pub detector: String,
    /// The rule, one that the plugin declares.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// 0 to 100.
    pub risk: u8,
    /// 0 to 1.
    pub confidence: f64,
    /// ATT&CK ids.
    pub techniques: Vec<String>,
    /// An address, or "" when there are many.
    pub src: String,
    /// An address, address:port or prefix.
    pub dst: String,
    /// Of the first record that it rests on.
    pub start: Time,
    /// Of the last record that it rests on.
    pub end: Time,
    /// Numbers in the capture, from 1.
    pub packets: Vec<u64>,
    /// The flows that it rests on.
    pub flows: Vec<FlowRef>,
    /// The numbers that the verdict rests on.
    pub features: BTreeMap<String, f64>,
    /// One sentence for people.
    pub summary: String,
}

impl Finding {
    /// A finding of a rule. Everything else has a method of its own or is a field.
    pub fn new(rule: &str, severity: Severity, summary: impl Into<String>) -> Finding {
        Finding {
            id: String::new(),
            detector: String::new(),
            rule: rule.into(),
            severity,
            risk: 0,
            confidence: 0.0,
            techniques: Vec::new(),
            src: String::new(),
            dst: String::new(),
            start: Time::NONE,
            end: Time::NONE,
            packets: Vec::new(),
            flows: Vec::new(),
            features: BTreeMap::new(),
            summary: summary.into(),
        }
    }

    /// How much it endangers, 0 to 100, and how sure that is, 0 to 1.
    pub fn risk(mut self, risk: u8, confidence: f64) -> Finding {
        self.risk = risk;
        self.confidence = confidence;
        self
    }

    /// Adds an ATT&CK technique.
    pub fn technique(mut self, id: &str) -> Finding {
        self.techniques.push(id.into());
        self
    }

    /// Who did it to whom; see [`addr_text`] and [`addr_port`].
    pub fn between(mut self, src: impl Into<String>, dst: impl Into<String>) -> Finding {
        self.src = src.into();
        self.dst = dst.into();
        self
    }

    /// From when to when.
    pub fn span(mut self, start: Time, end: Time) -> Finding {
        self.start = start;
        self.end = end;
        self
    }

    /// Adds a flow with the numbers of its packets to the evidence.
    pub fn flow(mut self, f: &Flow<'_>) -> Finding {
        self.flows.push(f.to_ref());
        self.packets.extend(f.packets().iter());
        self
    }

    /// Adds a number that the verdict rests on.
    pub fn feature(mut self, name: &str, value: f64) -> Finding {
        self.features.insert(name.into(), value);
        self
    }

    pub(crate) fn from_json(v: &Json) -> Finding {
        let mut f = Finding::new(v.text("rule"), Severity::of(v.text("severity")), v.text("summary"))
            .risk(
                v.member("risk").as_u64().map_or(0, |r| r.min(100) as u8),
                v.member("confidence").as_f64().unwrap_or(0.0),
            )
            .between(v.text("src"), v.text("dst"))
            .span(Time::of(v.member("start")), Time::of(v.member("end")));
        f.id = v.text("id").into();
        f.detector = v.text("detector").into();
        f.techniques = v.texts("techniques");
        f.packets = v.list("packets").iter().filter_map(Json::as_u64).collect();
        f.flows = v.list("flows").iter().map(FlowRef::from_json).collect();
        if let Some(Json::Object(o)) = v.get("features") {
            f.features = o.0.iter().filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect();
        }
        f
    }
}

/// The type of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Gauge,
    Counter,
}

/// One measured value of a series. Names and labels follow the OpenTelemetry semantic conventions. A value that is not
/// known is left out, never 0.
#[derive(Clone, Debug)]
pub struct Sample {
    metric: String,
    kind: Metric,
    value: f64,
    unit: String,
    labels: Vec<(String, String)>,
    time: Time,
}

impl Sample {
    /// A value that goes up and down.
    pub fn gauge(metric: &str, value: f64) -> Sample {
        Sample {
            metric: metric.into(),
            kind: Metric::Gauge,
            value,
            unit: String::new(),
            labels: Vec::new(),
            time: Time::NONE,
        }
    }

    /// A sum that only grows.
    pub fn counter(metric: &str, value: f64) -> Sample {
        Sample { kind: Metric::Counter, ..Sample::gauge(metric, value) }
    }

    /// Its unit in UCUM, for example "s", "By", "1".
    pub fn unit(mut self, unit: &str) -> Sample {
        self.unit = unit.into();
        self
    }

    /// Adds a label.
    pub fn label(mut self, name: &str, value: impl Into<String>) -> Sample {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// When it was measured; without it, when the collection was due.
    pub fn at(mut self, time: Time) -> Sample {
        self.time = time;
        self
    }
}

/// What a discovery plugin saw of a device.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// When; without it, now.
    pub time: Time,
    /// Its address.
    pub ip: Option<IpAddr>,
    /// Lower case, with colons.
    pub mac: String,
    /// Its name.
    pub hostname: String,
    /// Further facts, for example "rtt_seconds".
    pub facts: BTreeMap<String, String>,
    /// Between 0 and 1.
    pub confidence: f64,
}

impl Sighting {
    /// A device at an address.
    pub fn of(ip: IpAddr) -> Sighting {
        Sighting {
            time: Time::NONE,
            ip: Some(ip),
            mac: String::new(),
            hostname: String::new(),
            facts: BTreeMap::new(),
            confidence: 1.0,
        }
    }
}

/// What a notifier is asked to deliver.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The same for each retry.
    pub id: String,
    /// When it happened.
    pub time: Time,
    /// "alert.firing", "alert.resolved" or "test".
    pub event: String,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// Some lines.
    pub text: String,
    /// The alert's page.
    pub url: String,
    /// The finding that the alert rests on.
    pub alert: Option<Finding>,
}

impl Notice {
    pub(crate) fn from_json(v: &Json) -> Notice {
        Notice {
            id: v.text("id").into(),
            time: Time::of(v.member("time")),
            event: v.text("event").into(),
            severity: Severity::of(v.text("severity")),
            title: v.text("title").into(),
            text: v.text("text").into(),
            url: v.text("url").into(),
            alert: v.get("alert").filter(|a| **a != Json::Null).map(Finding::from_json),
        }
    }
}

/// What a system that was told answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// What the other system calls it.
    pub foreign_id: String,
    /// Its page there.
    pub url: String,
    /// Whether it can be taken back.
    pub undoable: bool,
}

impl Receipt {
    pub(crate) fn to_json(&self) -> Json {
        let mut o = Object::new();
        o.put_text("foreign_id", &self.foreign_id);
        o.put_text("url", &self.url);
        if self.undoable {
            o.put("undoable", true);
        }
        o.into()
    }

    pub(crate) fn from_json(v: &Json) -> Receipt {
        Receipt {
            foreign_id: v.text("foreign_id").into(),
            url: v.text("url").into(),
            undoable: v.member("undoable") == &Json::Bool(true),
        }
    }
}

/// What became of something delivered.
#[derive(Clone, Debug)]
pub struct DeliveryStatus {
    /// Whether the other side still works on it.
    pub state: DeliveryState,
    /// What the other system calls that.
    pub text: String,
    /// When it changed.
    pub time: Time,
}

/// Whether the other side still works on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It does.
    Open,
    /// Done there: the alert is resolved here.
    Closed,
    /// Taken back.
    Undone,
}

impl DeliveryStatus {
    pub(crate) fn to_json(&self) -> Json {
        let mut o = Object::new();
        let state = match self.state {
            DeliveryState::Open => "open",
            DeliveryState::Closed => "closed",
            DeliveryState::Undone => "undone",
        };
        o.put("state", state);
        o.put_text("text", &self.text);
        if self.time.is_set() {
            o.put("time", self.time);
        }
        o.into()
    }
}

/// Takes what a plugin emits. What makes no sense (a NaN, a rule that is not declared, an address outside the scope) is
/// left out and fails the call; the others are kept.
pub struct Sink<T: Emitted> {
    out: String,
    pub(crate) context: T::Context,
    count: usize,
    refused: usize,
    first: String,
}

impl<T: Emitted> Sink<T> {
    pub(crate) fn new(context: T::Context) -> Sink<T> {
        Sink { out: String::new(), context, count: 0, refused: 0, first: String::new() }
    }

    /// Emits one.
    pub fn put(&mut self, mut v: T) {
        let verdict = match self.count {
            n if n >= T::MOST => Err(format!("more than {} {} in one call", T::MOST, T::WHAT)),
            _ => v.check(&self.context),
        };
        if let Err(why) = verdict {
            if self.refused == 0 {
                self.first = why;
            }
            self.refused += 1;
            return;
        }
        self.out.push(if self.count == 0 { '[' } else { ',' });
        v.to_json().write(&mut self.out);
        self.count += 1;
    }

    /// Adds to the result of the call that something was refused.
    pub(crate) fn result(&self, result: Result<()>) -> Result<()> {
        if self.refused == 0 {
            return result;
        }
        let also = format!("{} {} were refused, the first because: {}", self.refused, T::WHAT, self.first);
        Err(match result {
            Ok(()) => Error::internal(also),
            Err(e) => Error { message: format!("{}\n{}", e.message, also), ..e },
        })
    }

    /// What was emitted, as a JSON list; nothing when there is none.
    pub(crate) fn into_json(mut self) -> Option<String> {
        if self.count == 0 {
            return None;
        }
        self.out.push(']');
        Some(self.out)
    }
}

/// Something that a plugin emits.
pub trait Emitted {
    #[doc(hidden)]
    type Context;
    #[doc(hidden)]
    const WHAT: &'static str;
    #[doc(hidden)]
    const MOST: usize;
    #[doc(hidden)]
    fn check(&mut self, context: &Self::Context) -> Result<(), String>;
    #[doc(hidden)]
    fn to_json(&self) -> Json;
}

const MAX_NAME: usize = 255;

fn texts(what: &str, map: &mut dyn Iterator<Item = &String>) -> Result<(), String> {
    let mut count = 0;
    for key in map {
        count += 1;
        if key.is_empty() || key.len() > MAX_NAME {
            return Err(format!("{}: key {:?}", what, crate::error::cut(key, 80)));
        }
    }
    if count > 64 {
        return Err(format!("{}: {} entries are more than 64", what, count));
    }
    Ok(())
}

impl Emitted for Sample {
    /// When the collection was due.
    type Context = Time;
    const WHAT: &'static str = "samples";
    const MOST: usize = 200_000;

    fn check(&mut self, due: &Time) -> Result<(), String> {
        if !self.time.is_set() {
            self.time = *due;
        }
        let letter = |c: u8| c.is_ascii_alphabetic() || c == b'_';
        let name = self.metric.as_bytes();
        if name.len() > MAX_NAME
            || !name.first().map_or(false, |c| letter(*c))
            || !name.iter().all(|c| letter(*c) || c.is_ascii_digit() || b".-/:".contains(c))
        {
            return Err(format!(
                "metric {:?} is not a name of letters, digits and . _ - / within {} bytes",
                crate::error::cut(&self.metric, 80),
                MAX_NAME
            ));
        }
        if !self.value.is_finite() {
            return Err(format!("metric {}: value {}; leave out what is not known", self.metric, self.value));
        }
        if self.kind == Metric::Counter && self.value < 0.0 {
            return Err(format!("metric {}: counter of {} is below 0", self.metric, self.value));
        }
        if !self.time.is_set() {
            return Err(format!("metric {}: no time", self.metric));
        }
        // The last of two labels with one name counts, as in a map.
        let labels: BTreeMap<_, _> = self.labels.drain(..).collect();
        self.labels = labels.into_iter().collect();
        texts(&format!("metric {}: labels", self.metric), &mut self.labels.iter().map(|l| &l.0))
    }

    fn to_json(&self) -> Json {
        let mut o = Object::new();
        o.put("metric", self.metric.as_str());
        o.put_text("unit", &self.unit);
        o.put("type", if self.kind == Metric::Gauge { "gauge" } else { "counter" });
        if !self.labels.is_empty() {
            let mut labels = Object::new();
            self.labels.iter().for_each(|(name, v)| labels.put(name, v.as_str()));
            o.put("labels", labels);
        }
        o.put("time", self.time);
        o.put("value", self.value);
        o.into()
    }
}

impl Emitted for Sighting {
    /// The scope, and the time now.
    type Context = (Scope, Time);
    const WHAT: &'static str = "sightings";
    const MOST: usize = 100_000;

    fn check(&mut self, (scope, now): &(Scope, Time)) -> Result<(), String> {
        if !self.time.is_set() {
            self.time = *now;
        }
        if self.ip.is_none() && self.mac.is_empty() && self.hostname.is_empty() {
            return Err("sighting without address, MAC and name".into());
        }
        let mac_byte =
            |(i, c): (usize, u8)| if i % 3 == 2 { c == b':' } else { matches!(c, b'0'..=b'9' | b'a'..=b'f') };
        if !self.mac.is_empty() && (self.mac.len() != 17 || !self.mac.bytes().enumerate().all(mac_byte)) {
            return Err(format!(
                "sighting: MAC {:?} is not six lower case pairs with colons",
                crate::error::cut(&self.mac, 80)
            ));
        }
        if !(0.0..=1.0).contains(&self.confidence) {
            return Err(format!("sighting: confidence {} is not between 0 and 1", self.confidence));
        }
        self.ip = self.ip.map(unmap);
        match self.ip {
            Some(ip) if !scope.contains(ip) => Err(format!("sighting of {} lies outside the scope", ip)),
            _ => texts("sighting: facts", &mut self.facts.keys()),
        }
    }

    fn to_json(&self) -> Json {
        let mut o = Object::new();
        o.put("time", self.time);
        if self.ip.is_some() {
            o.put("ip", addr_text(self.ip));
        }
        o.put_text("mac", &self.mac);
        o.put_text("hostname", &self.hostname);
        if !self.facts.is_empty() {
            let mut facts = Object::new();
            self.facts.iter().for_each(|(name, v)| facts.put(name, v.as_str()));
            o.put("facts", facts);
        }
        o.put("confidence", self.confidence);
        o.into()
    }
}

impl Emitted for Finding {
    /// The plugin, and the rules that it declares.
    type Context = (String, Vec<&'static str>);
    const WHAT: &'static str = "findings";
    const MOST: usize = 10_000;

    fn check(&mut self, (plugin, rules): &(String, Vec<&'static str>)) -> Result<(), String> {
        if !rules.contains(&self.rule.as_str()) {
            return Err(format!(
                "finding of rule {:?}, which {} does not declare",
                crate::error::cut(&self.rule, 80),
                plugin
            ));
        }
        self.detector = plugin.clone();
        if self.risk > 100 {
            return Err(format!("finding of rule {}: risk {} is not between 0 and 100", self.rule, self.risk));
        }
        if !(0.0..=1.0).contains(&self.confidence) {
            return Err(format!(
                "finding of rule {}: confidence {} is not between 0 and 1",
                self.rule, self.confidence
            ));
        }
        if let Some(bad) = self.techniques.iter().find(|id| !is_technique(id)) {
            return Err(format!(
                "finding of rule {}: {:?} is not a technique such as T1046 or T1110.001",
                self.rule,
                crate::error::cut(bad, 80)
            ));
        }
        if let Some((name, v)) =
            self.features.iter().find(|(name, v)| name.is_empty() || name.len() > MAX_NAME || !v.is_finite())
        {
            return Err(format!("finding of rule {}: feature {:?} is {}", self.rule, crate::error::cut(name, 80), v));
        }
        Ok(())
    }

    fn to_json(&self) -> Json {
        let mut o = Object::new();
        o.put("id", self.id.as_str());
        o.put("detector", self.detector.as_str());
        o.put("rule", self.rule.as_str());
        o.put("severity", self.severity.name());
        o.put("risk", self.risk);
        o.put("confidence", self.confidence);
        o.put("techniques", self.techniques.clone());
        o.put("src", self.src.as_str());
        o.put("dst", self.dst.as_str());
        o.put("start", self.start);
        o.put("end", self.end);
        o.put("packets", self.packets.as_slice());
        o.put("flows", Json::List(self.flows.iter().map(FlowRef::to_json).collect()));
        if !self.features.is_empty() {
            let mut features = Object::new();
            self.features.iter().for_each(|(name, v)| features.put(name, *v));
            o.put("features", features);
        }
        o.put("summary", self.summary.as_str());
        o.into()
    }
}

fn is_technique(id: &str) -> bool {
    let digits = |s: &str, n: usize| s.len() == n && s.bytes().all(|c| c.is_ascii_digit());
    let rest = match id.strip_prefix('T') {
        Some(rest) => rest,
        None => return false,
    };
    match rest.split_once('.') {
        Some((main, sub)) => digits(main, 4) && digits(sub, 3),
        None => digits(rest, 4),
    }
}
