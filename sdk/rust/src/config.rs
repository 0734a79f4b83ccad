//! The operator's configuration: one declaration gives the struct, its decoding with defaults and checks, and the JSON
//! Schema for the form on the page.
//!
//! ```
//! picket_sdk::config! {
//!     /// What the plugin can be told.
//!     pub struct Config {
//!         /// The hosts to ask.
//!         targets: Vec<String> => required, format("hostport");
//!         /// Time between two questions.
//!         interval: std::time::Duration = "30s" => min("1s");
//!         /// How hard to look.
//!         mode: String = "fast" => one_of(["fast", "deep"]);
//!         /// Sent to each target.
//!         password: String => secret;
//!     }
//! }
//! ```
//!
//! Types: `String`, `bool`, integers, floats, `Duration` (written as a text such as "1m30s"), other structs made by
//! `config!`, `BTreeMap<String, String>`, and `Vec` of these. `min` and `max` bound the value of a number or a duration,
//! the length of a text, the number of elements of a list or a map; `one_of` and `format` apply to each element. Formats:
//! cidr, url, hostport, host, duration.

use crate::json::{Json, Object};
use crate::time::parse_duration;
use crate::{Error, Prefix};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A struct made by [`config!`](crate::config!), or `()` when there is nothing to configure.
pub trait Config: Sized {
    /// Its fields, in the order of the form.
    fn fields() -> Vec<Field>;
    #[doc(hidden)]
    fn decode(tree: &Object, path: &str, problems: &mut Vec<String>) -> Option<Self>;
}

impl Config for () {
    fn fields() -> Vec<Field> {
        Vec::new()
    }
    fn decode(tree: &Object, path: &str, problems: &mut Vec<String>) -> Option<()> {
        Decoder::new(Vec::new(), tree, path, problems).finish();
        Some(())
    }
}

/// A type that a field can have.
pub trait Value: Sized {
    /// How it is written.
    fn kind() -> Kind;
    #[doc(hidden)]
    fn decode(v: &Json, path: &str, problems: &mut Vec<String>) -> Option<Self>;
    /// What an optional field holds when nothing is given.
    #[doc(hidden)]
    fn none(path: &str, problems: &mut Vec<String>) -> Option<Self>;
}

/// How a field is written in JSON.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Text,
    Bool,
    Int { min: i128, max: i128 },
    Float,
    Duration,
    List(Box<Kind>),
    Map,
    Object(Vec<Field>),
}

/// One field of a configuration and what is allowed in it.
#[derive(Clone, Debug)]
pub struct Field {
    name: String,
    doc: String,
    kind: Kind,
    default: Option<Json>,
    min: Option<Json>,
    max: Option<Json>,
    one_of: Vec<Json>,
    format: &'static str,
    secret: bool,
    required: bool,
}

impl Field {
    #[doc(hidden)]
    pub fn new(name: &str, doc: &[&str], kind: Kind) -> Field {
        let doc: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
        let name = name.strip_prefix("r#").unwrap_or(name).to_string();
        Field {
            name,
            doc: doc.join(" "),
            kind,
            default: None,
            min: None,
            max: None,
            one_of: Vec::new(),
            format: "",
            secret: false,
            required: false,
        }
    }

    #[doc(hidden)]
    pub fn default(mut self, v: impl Into<Json>) -> Field {
        self.default = Some(v.into());
        self
    }

    /// The smallest value, or the least length.
    pub fn min(mut self, v: impl Into<Json>) -> Field {
        self.min = Some(v.into());
        self
    }

    /// The largest value, or the greatest length.
    pub fn max(mut self, v: impl Into<Json>) -> Field {
        self.max = Some(v.into());
        self
    }

    /// The values that are allowed.
    pub fn one_of<T: Into<Json>, const N: usize>(mut self, v: [T; N]) -> Field {
        self.one_of = v.into_iter().map(Into::into).collect();
        self
    }

    /// What the text must look like: "cidr", "url", "hostport", "host" or "duration".
    pub fn format(mut self, name: &'static str) -> Field {
        self.format = name;
        self
    }

    /// The operator gives it as a secret, which no page shows again.
    pub fn secret(mut self) -> Field {
        self.secret = true;
        self
    }

    /// It must be given.
    pub fn required(mut self) -> Field {
        self.required = true;
        self
    }
}

/// Declares the struct of a configuration, see [the module](crate::config).
#[macro_export]
macro_rules! config {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $( $(#[doc = $doc:expr])* $field:ident : $ty:ty $(= $default:expr)? $(=> $($option:ident $(($($value:expr),*))?),+)? ; )*
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $( $(#[doc = $doc])* pub $field: $ty, )*
        }

        impl $crate::config::Config for $name {
            fn fields() -> ::std::vec::Vec<$crate::config::Field> {
                ::std::vec![ $(
                    $crate::config::Field::new(stringify!($field), &[$($doc),*], <$ty as $crate::config::Value>::kind())
                        $(.default($default))?
                        $($(.$option($($($value),*)?))+)?
                ),* ]
            }

            fn decode(tree: &$crate::json::Object, path: &str, problems: &mut ::std::vec::Vec<::std::string::String>) -> ::std::option::Option<Self> {
                #[allow(unused_mut)]
                let mut decoder = $crate::config::Decoder::new(<Self as $crate::config::Config>::fields(), tree, path, problems);
                $( let $field = decoder.next::<$ty>(); )*
                decoder.finish();
                ::std::option::Option::Some($name { $( $field: $field? ),* })
            }
        }

        impl $crate::config::Value for $name {
            fn kind() -> $crate::config::Kind {
                $crate::config::Kind::Object(<Self as $crate::config::Config>::fields())
            }
            fn decode(v: &$crate::json::Json, path: &str, problems: &mut ::std::vec::Vec<::std::string::String>) -> ::std::option::Option<Self> {
                $crate::config::decode_object(v, path, problems)
            }
            fn none(path: &str, problems: &mut ::std::vec::Vec<::std::string::String>) -> ::std::option::Option<Self> {
                <Self as $crate::config::Config>::decode(&::std::default::Default::default(), path, problems)
            }
        }
    };
}

#[doc(hidden)]
pub fn decode_object<C: Config>(v: &Json, path: &str, problems: &mut Vec<String>) -> Option<C> {
    match v {
        Json::Object(o) => C::decode(o, path, problems),
        _ => refuse(path, "must be an object", problems),
    }
}

/// Decoder reads the fields of one object, in order.
#[doc(hidden)]
pub struct Decoder<'a> {
    fields: Vec<Field>,
    at: usize,
    tree: &'a Object,
    path: &'a str,
    problems: &'a mut Vec<String>,
}

impl<'a> Decoder<'a> {
    pub fn new(fields: Vec<Field>, tree: &'a Object, path: &'a str, problems: &'a mut Vec<String>) -> Decoder<'a> {
        Decoder { fields, at: 0, tree, path, problems }
    }

    pub fn next<T: Value>(&mut self) -> Option<T> {
        let f = &self.fields[self.at];
        self.at += 1;
        let path = join(self.path, &f.name);
        let given = self.tree.get(&f.name).filter(|v| **v != Json::Null);
        let v = given.or(f.default.as_ref());
        if f.required && v.map_or(true, is_empty) {
            return refuse(&path, "is required", self.problems);
        }
        let blank = |v: &&Json| matches!(v, Json::Text(s) if s.is_empty()) && f.default.is_none();
        let v = match v.filter(|v| !blank(v)) {
            Some(v) => v,
            None => return T::none(&path, self.problems), // as forms send an optional field
        };
        let out = T::decode(v, &path, self.problems)?;
        match f.check(v) {
            Some(msg) => refuse(&path, &msg, self.problems),
            None => Some(out),
        }
    }

    /// Names the keys that no field has.
    pub fn finish(self) {
        for (key, _) in &self.tree.0 {
            if !self.fields.iter().any(|f| f.name == *key) {
                self.problems.push(format!("{}: unknown key", join(self.path, &format!("{:?}", key))));
            }
        }
    }
}

fn refuse<T>(path: &str, msg: &str, problems: &mut Vec<String>) -> Option<T> {
    problems.push(format!("{}: {}", path, msg));
    None
}

fn is_empty(v: &Json) -> bool {
    match v {
        Json::Null => true,
        Json::Text(s) => s.is_empty(),
        Json::List(l) => l.is_empty(),
        _ => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        return name.to_string();
    }
    format!("{}.{}", path, name)
}

/// Decodes the operator's configuration with the secrets that the host gave. All problems are reported together.
pub(crate) fn decode<C: Config>(config: &Json, secrets: &BTreeMap<String, String>) -> Result<C, Error> {
    let mut tree = match config {
        Json::Null => Object::new(),
        Json::Object(o) => o.clone(),
        _ => return Err(Error::invalid_config("configuration: must be a JSON object")),
    };
    for path in secret_paths("", &C::fields()) {
        if let Some(secret) = secrets.get(&path) {
            put(&mut tree, &path, secret)
                .map_err(|e| Error::invalid_config(format!("configuration: secret {}: {}", path, e)))?;
        }
    }
    let mut problems = Vec::new();
    let out = C::decode(&tree, "", &mut problems);
    match out {
        Some(c) if problems.is_empty() => Ok(c),
        _ => Err(Error::invalid_config(format!("configuration: {}", problems.join("\n")))),
    }
}

fn secret_paths(path: &str, fields: &[Field]) -> Vec<String> {
    let mut out = Vec::new();
    for f in fields {
        let here = join(path, &f.name);
        if let Kind::Object(inner) = &f.kind {
            out.extend(secret_paths(&here, inner));
        }
        if f.secret {
            out.push(here);
        }
    }
    out
}

fn put(tree: &mut Object, path: &str, secret: &str) -> Result<(), String> {
    let (name, rest) = match path.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (path, None),
    };
    if tree.get(name).is_none() {
        tree.put(name, Json::Null);
    }
    let slot = tree.get_mut(name).ok_or("no place")?;
    let rest = match rest {
        Some(rest) => rest,
        None => {
            *slot = secret.into();
            return Ok(());
        }
    };
    if *slot == Json::Null {
        *slot = Object::new().into();
    }
    match slot {
        Json::Object(o) => put(o, rest, secret),
        _ => Err(format!("{} is not an object", name)),
    }
}

/// The JSON Schema (2020-12) of a configuration, as the Go SDK writes it, or the author's mistake in it.
pub fn schema<C: Config>() -> Result<Json, String> {
    let fields = C::fields();
    check_fields("", &fields)?;
    let mut o = Object::new();
    o.put("$schema", "https://json-schema.org/draft/2020-12/schema");
    o.0.extend(object_schema(&fields).0);
    Ok(o.into())
}

/// Finds what the author got wrong; the operator could do nothing about it.
fn check_fields(path: &str, fields: &[Field]) -> Result<(), String> {
    for f in fields {
        let here = join(path, &f.name);
        if !["", "cidr", "url", "host", "hostport", "duration"].contains(&f.format) {
            return Err(format!("field {}: unknown format {:?}", here, f.format));
        }
        if f.default.is_some() && (f.required || f.secret) {
            return Err(format!("field {}: a required or secret field has no default", here));
        }
        for bound in [&f.min, &f.max].into_iter().flatten() {
            if f.bound(bound).is_none() {
                return Err(format!("field {}: the bound {} has no meaning here", here, bound));
            }
        }
        if let Some(msg) = f.default.as_ref().and_then(|v| f.kind.refuses(v).or_else(|| f.check(v))) {
            return Err(format!("field {}: its default {}", here, msg));
        }
        if let Kind::Object(inner) = &f.kind {
            check_fields(&here, inner)?;
        }
    }
    Ok(())
}

fn object_schema(fields: &[Field]) -> Object {
    let mut properties = Object::new();
    for (i, f) in fields.iter().enumerate() {
        let mut s = f.schema();
        s.put("x-order", i);
        properties.put(&f.name, s);
    }
    let mut o = Object::new();
    o.put("type", "object");
    o.put("additionalProperties", false);
    o.put("properties", properties);
    let required: Vec<&str> = fields.iter().filter(|f| f.required).map(|f| f.name.as_str()).collect();
    if !required.is_empty() {
        o.put("required", required);
    }
    o
}

/// What Go's time.ParseDuration accepts.
const DURATION_PATTERN: &str = r"^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$";

impl Kind {
    /// One of the names of JSON Schema, with one_of and format at the scalar, inside of lists.
    fn schema(&self, f: &Field) -> Object {
        let mut o = Object::new();
        let name = match self {
            Kind::Object(fields) => return object_schema(fields),
            Kind::Text | Kind::Duration => "string",
            Kind::Bool => "boolean",
            Kind::Int { .. } => "integer",
            Kind::Float => "number",
            Kind::List(_) => "array",
            Kind::Map => "object",
        };
        o.put("type", name);
        match self {
            Kind::List(elem) => o.put("items", elem.schema(f)),
            Kind::Map => {
                let mut text = Object::new();
                text.put("type", "string");
                o.put("additionalProperties", text);
            }
            Kind::Duration => {
                o.put("pattern", DURATION_PATTERN);
                o.put("x-format", "duration");
            }
            Kind::Text | Kind::Int { .. } | Kind::Float => {
                if !f.one_of.is_empty() {
                    o.put("enum", Json::List(f.one_of.clone()));
                }
                if f.format == "url" {
                    o.put("format", "uri");
                }
                o.put_text("x-format", f.format);
            }
            Kind::Bool | Kind::Object(_) => {}
        }
        o
    }

    /// Why a value does not fit the type.
    fn refuses(&self, v: &Json) -> Option<String> {
        let fits = match (self, v) {
            (Kind::Text, Json::Text(_)) | (Kind::Bool, Json::Bool(_)) => true,
            (Kind::Int { min, max }, Json::Number(n)) => n.parse::<i128>().map_or(false, |n| n >= *min && n <= *max),
            (Kind::Float, Json::Number(_)) => v.as_f64().is_some(),
            (Kind::Duration, Json::Text(s)) => parse_duration(s).is_some(),
            (Kind::List(elem), Json::List(l)) => {
                return l
                    .iter()
                    .enumerate()
                    .find_map(|(i, v)| elem.refuses(v).map(|msg| format!("element {} {}", i, msg)));
            }
            (Kind::Map, Json::Object(_)) | (Kind::Object(_), Json::Object(_)) => true,
            _ => false,
        };
        if fits {
            return None;
        }
        Some(match self {
            Kind::Text => "must be a string".into(),
            Kind::Bool => "must be true or false".into(),
            Kind::Int { min, max } => format!("must be a whole number from {} to {}", min, max),
            Kind::Float => "must be a finite number".into(),
            Kind::Duration => "must be a duration such as \"30s\" or \"1m30s\"".into(),
            Kind::List(_) => "must be a list".into(),
            Kind::Map | Kind::Object(_) => "must be an object".into(),
        })
    }
}

impl Field {
    fn schema(&self) -> Object {
        let mut o = self.kind.schema(self);
        o.put_text("description", &self.doc);
        if let Some(v) = &self.default {
            o.put("default", v.clone());
        }
        if self.secret {
            o.put("writeOnly", true);
            o.put("x-secret", true);
        }
        let words = match self.kind {
            Kind::Int { .. } | Kind::Float => ("minimum", "maximum"),
            Kind::Text => ("minLength", "maxLength"),
            Kind::List(_) => ("minItems", "maxItems"),
            Kind::Map => ("minProperties", "maxProperties"),
            Kind::Duration => ("x-min", "x-max"),
            Kind::Bool | Kind::Object(_) => return o,
        };
        for (word, bound) in [(words.0, &self.min), (words.1, &self.max)] {
            if let Some(v) = bound {
                o.put(word, v.clone());
            }
        }
        o
    }

    /// The number behind a bound; a duration in nanoseconds.
    fn bound(&self, v: &Json) -> Option<f64> {
        match (&self.kind, v) {
            (Kind::Bool, _) | (Kind::Object(_), _) => None,
            (Kind::Duration, Json::Text(s)) => parse_duration(s).map(|d| d.as_nanos() as f64),
            (Kind::Duration, _) => None,
            _ => v.as_f64(),
        }
    }

    /// Says in words what is wrong with a value that fits its type.
    fn check(&self, v: &Json) -> Option<String> {
        let (size, what) = match v {
            Json::Text(s) if matches!(self.kind, Kind::Duration) => (parse_duration(s)?.as_nanos() as f64, "it"),
            Json::Text(s) => (s.chars().count() as f64, "its length"),
            Json::List(l) => (l.len() as f64, "the number of elements"),
            Json::Object(o) => (o.0.len() as f64, "the number of entries"),
            _ => (v.as_f64().unwrap_or(0.0), "it"),
        };
        for (bound, word) in [(&self.min, "least"), (&self.max, "most")] {
            if let Some(b) = bound {
                let limit = self.bound(b)?;
                if if word == "least" { size < limit } else { size > limit } {
                    let text = b.as_str().map_or_else(|| b.to_string(), str::to_string);
                    return Some(format!("{} must be at {} {}", what, word, text));
                }
            }
        }
        match v {
            Json::List(l) => {
                l.iter().enumerate().find_map(|(i, v)| self.check_one(v).map(|msg| format!("element {} {}", i, msg)))
            }
            _ => self.check_one(v),
        }
    }

    fn check_one(&self, v: &Json) -> Option<String> {
        let text = match v {
            Json::Text(s) => s,
            Json::Number(n) => n,
            _ => return None,
        };
        // A secret must not end up in an error or a log.
        let quoted = || if self.secret { "the value".to_string() } else { format!("{:?}", text) };
        if !self.one_of.is_empty() && !self.one_of.contains(v) {
            let all: Vec<String> =
                self.one_of.iter().map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_string)).collect();
            return Some(format!("{} must be one of {}", quoted(), all.join(", ")));
        }
        let problem = match self.format {
            "cidr" if Prefix::parse(text).is_none() => "is not a network such as 192.168.1.0/24",
            "url" if !is_url(text) => "is not a URL such as https://example.org/path",
            "host" if !is_host(text) => "is not a host name or an address",
            "hostport" if !is_host_port(text) => "is not host:port such as example.org:443 or [2001:db8::1]:443",
            "duration" if parse_duration(text).is_none() => "is not a duration such as 30s",
            _ => return None,
        };
        Some(format!("{} {}", quoted(), problem))
    }
}

fn is_url(s: &str) -> bool {
    let (scheme, rest) = match s.split_once("://") {
        Some(parts) => parts,
        None => return false,
    };
    let host = rest.split(|c| matches!(c, '/' | '?' | '#')).next().unwrap_or("");
    let plain = s.bytes().all(|c| c > b' ' && c != 0x7f);
    let scheme_ok = scheme.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c));
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme_ok && !host.is_empty() && plain
}

fn is_host_port(s: &str) -> bool {
    let (host, port) = match s.rsplit_once(':') {
        Some(parts) => parts,
        None => return false,
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host = if bracketed { &host[1..host.len() - 1] } else { host };
    let port_ok = port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().map_or(false, |p| p > 0);
    port_ok && is_host(host) && host.contains(':') == bracketed
}

fn is_host(s: &str) -> bool {
    if s.parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = s.strip_suffix('.').unwrap_or(s);
    let label = |l: &str| {
        !l.is_empty() && l.len() <= 63 && l.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    s.len() <= 253 && name.split('.').all(label)
}

macro_rules! value {
    ($t:ty, $kind:expr, $none:expr, $v:ident => $read:expr) => {
        impl Value for $t {
            fn kind() -> Kind {
                $kind
            }
            fn decode($v: &Json, path: &str, problems: &mut Vec<String>) -> Option<Self> {
                if let Some(msg) = Self::kind().refuses($v) {
                    return refuse(path, &msg, problems);
                }
                $read
            }
            fn none(_: &str, _: &mut Vec<String>) -> Option<Self> {
                Some($none)
            }
        }
    };
}

macro_rules! int_value {
    ($($t:ty)*) => {$(
        value!($t, Kind::Int { min: <$t>::MIN as i128, max: <$t>::MAX as i128 }, 0, v => v.number()?.parse().ok());
    )*};
}

int_value!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);
value!(f64, Kind::Float, 0.0, v => v.as_f64());
value!(f32, Kind::Float, 0.0, v => v.as_f64().map(|f| f as f32));
value!(bool, Kind::Bool, false, v => Some(*v == Json::Bool(true)));
value!(String, Kind::Text, String::new(), v => v.as_str().map(str::to_string));
value!(Duration, Kind::Duration, Duration::ZERO, v => parse_duration(v.as_str()?));

impl<T: Value> Value for Vec<T> {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }
    fn decode(v: &Json, path: &str, problems: &mut Vec<String>) -> Option<Self> {
        let list = match v {
            Json::List(l) => l,
            _ => return refuse(path, "must be a list", problems),
        };
        let all: Vec<Option<T>> =
            list.iter().enumerate().map(|(i, v)| T::decode(v, &format!("{}[{}]", path, i), problems)).collect();
        all.into_iter().collect()
    }
    fn none(_: &str, _: &mut Vec<String>) -> Option<Self> {
        Some(Vec::new())
    }
}

impl Value for BTreeMap<String, String> {
    fn kind() -> Kind {
        Kind::Map
    }
    fn decode(v: &Json, path: &str, problems: &mut Vec<String>) -> Option<Self> {
        let o = match v {
            Json::Object(o) => o,
            _ => return refuse(path, "must be an object", problems),
        };
        let mut out = BTreeMap::new();
        let before = problems.len();
        for (key, v) in &o.0 {
            if let Some(text) = String::decode(v, &join(path, &format!("{:?}", key)), problems) {
                out.insert(key.clone(), text);
            }
        }
        if problems.len() > before {
            None
        } else {
            Some(out)
        }
    }
    fn none(_: &str, _: &mut Vec<String>) -> Option<Self> {
        Some(BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    crate::config! {
        #[derive(Debug, PartialEq)]
        struct Mail {
            /// The mail server.
            host: String = "localhost" => format("host");
            port: u16 = 25 => min(1);
            to: Vec<String> => required;
            password: String => secret;
        }
    }

    crate::config! {
        #[derive(Debug, PartialEq)]
        struct Sample {
            targets: Vec<String> => format("hostport"), max(3);
            every: Duration = "30s" => min("1s"), max("1h");
            mode: String = "fast" => one_of(["fast", "deep"]);
            ratio: f64 = 0.5 => min(0), max(1);
            count: i8 => max(100);
            big: u64;
            deep: bool = true;
            ports: Vec<u16> = [22, 80];
            header: BTreeMap<String, String>;
            net: String => format("cidr");
            url: String => format("url");
            token: String => secret, one_of(["a", "b"]);
            mail: Mail;
            peers: Vec<Mail>;
        }
    }

    fn read(text: &str) -> Result<Sample, Error> {
        decode(&Json::parse(text.as_bytes()).unwrap(), &BTreeMap::new())
    }

    #[test]
    fn defaults_then_values() {
        let c = read(
            r#"{"every": "1m30s", "count": -3, "big": 18446744073709551615, "ports": [], "header": {"A": "b"},
            "targets": ["a:1", "[2001:db8::1]:443"], "url": "", "mode": null, "mail": {"to": ["x"]}, "peers": [{"to": ["y"], "port": 26}]}"#,
        )
        .unwrap();
        assert_eq!((c.every, c.count, c.big, c.ports.len()), (Duration::from_secs(90), -3, u64::MAX, 0));
        assert_eq!((c.mode.as_str(), c.ratio, c.deep), ("fast", 0.5, true));
        assert_eq!((c.mail.host.as_str(), c.mail.port, c.peers[0].port), ("localhost", 25, 26));
        assert_eq!(c.header["A"], "b");
    }

    #[test]
    fn every_problem_at_once() {
        let e = read(
            r#"{"targets": ["nohost", "a:1", "a:2", "a:3"], "every": "1ms", "mode": "slow", "ratio": 1.5, "count": 300, "big": -1,
            "deep": "yes", "ports": [1, 2.5], "header": {"A": 1}, "net": "10.0.0.1", "url": "x", "Mode": "fast", "token": "hush",
            "mail": {"host": "a b", "port": 0, "extra": 1}}"#,
        )
        .unwrap_err();
        assert_eq!(e.class, Class::InvalidConfig);
        for want in [
            "targets: the number of elements must be at most 3",
            "every: it must be at least 1s",
            "mode: \"slow\" must be one of fast, deep",
            "ratio: it must be at most 1",
            "count: must be a whole number from -128 to 127",
            "big: must be a whole number from 0",
            "deep: must be true or false",
            "ports[1]: must be a whole number",
            "header.\"A\": must be a string",
            "net: \"10.0.0.1\" is not a network",
            "url: \"x\" is not a URL",
            "\"Mode\": unknown key",
            "mail.host: \"a b\" is not a host name",
            "mail.port: it must be at least 1",
            "mail.to: is required",
            "mail.\"extra\": unknown key",
            "token: the value must be one of",
        ] {
            assert!(e.message.contains(want), "missing {:?} in\n{}", want, e.message);
        }
        assert!(!e.message.contains("hush"));
    }

    #[test]
    fn secrets_land_in_their_fields() {
        let secrets = [("mail.password", "p"), ("token", "a"), ("mode", "no secret")]
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        let c: Sample = decode(&Json::parse(br#"{"mail": {"to": ["x"]}}"#).unwrap(), &secrets).unwrap();
        assert_eq!((c.mail.password.as_str(), c.token.as_str(), c.mode.as_str()), ("p", "a", "fast"));
    }

    #[test]
    fn nothing_to_configure() {
        let none = BTreeMap::new();
        assert!(decode::<()>(&Json::Null, &none).is_ok());
        assert!(decode::<()>(&Json::parse(br#"{"a": 1}"#).unwrap(), &none).is_err());
        assert!(decode::<()>(&Json::parse(b"[]").unwrap(), &none).is_err());
    }

    #[test]
    fn the_authors_mistakes() {
        crate::config! { struct Bad { a: u8 = 5 => min(6); } }
        crate::config! { struct Worse { a: String => format("zip"); } }
        crate::config! { struct Worst { a: bool => min(1); } }
        crate::config! { struct Secret { a: String = "x" => secret; } }
        assert!(
            schema::<Bad>().is_err()
                && schema::<Worse>().is_err()
                && schema::<Worst>().is_err()
                && schema::<Secret>().is_err()
        );
        assert!(schema::<Sample>().is_ok());
    }
}
