//! Write plugins for Picket in Rust. A plugin is a WASM guest: it has no files, no network and no threads of its own,
//! only what its [`Host`] offers and the operator granted.
//!
//! A collector that says hello, all of it:
//!
//! ```
//! use picket_sdk::prelude::*;
//!
//! picket_sdk::config! {
//!     pub struct Config {
//!         /// Who is greeted.
//!         name: String = "world";
//!     }
//! }
//!
//! struct Hello(Config);
//!
//! impl Instance for Hello {
//!     type Config = Config;
//!     fn start(config: Config, _host: Host) -> Result<Self> {
//!         Ok(Hello(config))
//!     }
//! }
//!
//! impl Collector for Hello {
//!     fn collect(&mut self, _: &CollectRequest, sink: &mut Sink<Sample>) -> Result<()> {
//!         sink.put(Sample::gauge("acme.hello", 1.0).unit("1").label("name", &self.0.name));
//!         Ok(())
//!     }
//! }
//!
//! picket_sdk::register![collector::<Hello>("acme/hello", "Says hello once per interval.")];
//! # fn main() { picket_sdk::testing::Bench::new(picket_plugins()); }
//! ```

#![warn(missing_docs)]

pub mod config;
mod error;
pub mod frame;
mod guest;
pub mod host;
pub mod json;
mod model;
#[rustfmt::skip] // generated
mod rows;
mod sys;
pub mod testing;
mod time;

pub use error::{Class, Error, Result};
pub use guest::{
    collector, detector, discovery, notifier, Collector, Detector, Discoverer, Guest, Instance, Notifier, Op, Plugin,
};
pub use host::Host;
pub use model::*;
pub use rows::{Content, File, Flow, Login, Message, Packet, ARP, DHCP, DNS, HTTP, OT, SMB, TLS};
pub use time::Time;

#[doc(hidden)]
pub use guest::log_panics;

/// What a plugin usually needs: `use picket_sdk::prelude::*`.
pub mod prelude {
    pub use crate::{
        addr_port, addr_text, collector, detector, discovery, notifier, Batch, CollectRequest, Collector, Detector,
        Discoverer, Error, Finding, Flow, Host, Instance, Notice, Notifier, Packet, Receipt, Result, Rule, Sample,
        Scope, Severity, Sighting, Sink, Time,
    };
}
