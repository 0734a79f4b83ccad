//! Runs a plugin's own code without a host, for `cargo test`.

use crate::json::{Json, Object};
use crate::{Error, Guest, Op, Plugin, Result};

/// A guest with one instance of a plugin in it, named "test". Everything goes the way that it goes in a runner.
pub struct Bench {
    guest: Guest,
}

impl Bench {
    /// A bench for the plugins that `register!` made: `Bench::new(picket_plugins())`.
    pub fn new(plugins: Vec<Plugin>) -> Bench {
        Bench { guest: Guest::new(plugins) }
    }

    /// Has the plugin open these bytes as a model, in this thread. A guest asks its runner instead.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn model(&mut self, id: &str, bytes: &[u8]) {
        crate::sys::put_model(id, bytes);
    }

    /// Starts the instance with a configuration in JSON.
    pub fn configure(&mut self, plugin: &str, config: &str) -> Result<()> {
        let config = Json::parse(config.as_bytes()).map_err(Error::invalid_config)?;
        let mut o = Object::new();
        o.put("instance", "test");
        o.put("plugin", plugin);
        o.put("config", config);
        let mut request = Object::new();
        request.put("configure", o);
        self.call(Op::Configure, request).map(|_| ())
    }

    /// Does one operation without further parts: describe, collect, flush, health, snapshot or stop. The answer is the
    /// one that the host would get.
    pub fn run(&mut self, op: Op) -> Result<Json> {
        self.call(op, Object::new())
    }

    /// Hands over one frame of flows or packets, and returns the findings.
    pub fn inspect(&mut self, capture: &str, frame: &[u8]) -> Result<Vec<crate::Finding>> {
        let mut head = Object::new();
        head.put("instance", "test");
        head.put("capture", capture);
        let head = Json::from(head).to_string();
        let mut request = (head.len() as u32).to_le_bytes().to_vec();
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(frame);
        self.send(Op::Inspect, &request).map(|v| v.list("findings").iter().map(crate::Finding::from_json).collect())
    }

    fn call(&mut self, op: Op, mut request: Object) -> Result<Json> {
        request.put("instance", "test");
        self.send(op, Json::from(request).to_string().as_bytes())
    }

    fn send(&mut self, op: Op, request: &[u8]) -> Result<Json> {
        let answer = self.guest.call(op as u32, request);
        if answer.is_empty() {
            return Ok(Json::Null);
        }
        let v = Json::parse(answer.as_bytes()).map_err(Error::internal)?;
        match v.get("error") {
            Some(e) => Err(Error::from_json(e)),
            None => Ok(v),
        }
    }
}
