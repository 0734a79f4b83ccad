//! acme/slow-transfer finds transfers that move much data at a low rate, as a download does that somebody throttles to
//! stay unnoticed.

use picket_sdk::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

picket_sdk::config! {
    /// What counts as a slow transfer.
    pub struct Config {
        /// Fewer bytes than this in one direction are no transfer.
        min_bytes: u64 = 100_000 => min(1);
        /// A transfer that ends sooner is not slow.
        min_duration: Duration = "30s" => min("0s");
        /// Bytes per second; a transfer below it is slow.
        max_rate: f64 = 10_000.0 => min(0);
        /// So many slow transfers of one source are reported together at the end of the capture.
        many: u32 = 3 => min(1);
    }
}

/// The slow transfers of one source.
#[derive(Clone)]
struct Source {
    count: u32,
    bytes: u64,
    first: Time,
    last: Time,
}

/// One detector with what it saw of the running capture.
pub struct SlowTransfer {
    config: Config,
    sources: BTreeMap<String, Source>,
}

/// More sources than this are not remembered.
const MAX_SOURCES: usize = 10_000;

impl Instance for SlowTransfer {
    type Config = Config;

    fn start(config: Config, _host: Host) -> Result<Self> {
        Ok(SlowTransfer { config, sources: BTreeMap::new() })
    }
}

impl Detector for SlowTransfer {
    fn inspect(&mut self, batch: &Batch<'_>, sink: &mut Sink<Finding>) -> Result<()> {
        for f in batch.flows {
            let bytes = f.fwd_bytes().max(f.rev_bytes());
            let seconds = f.end().seconds_since(f.start());
            let slow = bytes >= self.config.min_bytes
                && f.duration() >= self.config.min_duration
                && (bytes as f64) < self.config.max_rate * seconds;
            if slow {
                sink.put(self.transfer(&f, bytes, bytes as f64 / seconds));
                self.remember(&f, bytes);
            }
        }
        Ok(())
    }

    fn flush(&mut self, sink: &mut Sink<Finding>) -> Result<()> {
        for (src, s) in std::mem::take(&mut self.sources) {
            if s.count >= self.config.many {
                let summary = format!("{} moved {} bytes in {} slow transfers", src, s.bytes, s.count);
                sink.put(
                    Finding::new("many", Severity::Medium, summary)
                        .risk(40, 0.7)
                        .technique("T1030")
                        .between(src, "")
                        .span(s.first, s.last)
                        .feature("transfers", f64::from(s.count))
                        .feature("bytes", s.bytes as f64),
                );
            }
        }
        Ok(())
    }
}

impl SlowTransfer {
    fn transfer(&self, f: &Flow<'_>, bytes: u64, rate: f64) -> Finding {
        let (src, dst) = (addr_text(f.src()), addr_port(f.dst(), f.dst_port()));
        let summary = format!("{} and {} moved {} bytes at {:.0} bytes per second", src, dst, bytes, rate);
        Finding::new("transfer", Severity::Low, summary)
            .risk(20, 0.5)
            .technique("T1030")
            .between(src, dst)
            .span(f.start(), f.end())
            .flow(f)
            .feature("bytes", bytes as f64)
            .feature("rate", rate)
            .feature("iat_mean", f.iat_mean())
    }

    fn remember(&mut self, f: &Flow<'_>, bytes: u64) {
        let src = addr_text(f.src());
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&src) {
            return;
        }
        let s = self.sources.entry(src).or_insert(Source { count: 0, bytes: 0, first: f.start(), last: f.end() });
        s.count += 1;
        s.bytes += bytes;
        s.first = s.first.min(f.start());
        s.last = s.last.max(f.end());
    }
}

picket_sdk::register![detector::<SlowTransfer>(
    "acme/slow-transfer",
    "Finds transfers that move much data at a low rate."
)
.flows()
.rule(
    Rule::new("transfer", "One transfer is large and slow.", Severity::Low)
        .technique("T1030")
        .false_positive("A backup over a slow line."),
)
.rule(
    Rule::new("many", "One source has many large and slow transfers.", Severity::Medium)
        .technique("T1030")
        .false_positive("A site behind a slow line."),
)];
