//! The detectors of internal/bench/refdetector/detectors in Rust, for the benchmarks of the guest: the same thresholds,
//! entropy and trees, so that the time can be compared and the findings are the same.

use picket_sdk::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts allocations: the benchmark divides them by the records.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        System.alloc(layout)
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        System.dealloc(ptr, layout)
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        System.realloc(ptr, layout, size)
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TREES: usize = 50;
const DEPTH: u32 = 6;
const FEATURES: usize = 32;
const LEAVES: usize = 1 << DEPTH;
const MARKER_PORT: u16 = 6666;

/// Node i of a tree leads to node 2i when the feature is at most the limit, else to 2i+1; the root is 1.
#[derive(Clone, Copy, Default)]
struct Node {
    feature: u32,
    limit: f64,
}

/// The first node is not used.
#[derive(Clone, Copy)]
struct Tree {
    nodes: [Node; LEAVES],
    votes: [f64; LEAVES],
}

/// The generator of Go's math/rand/v2, PCG-DXSM, so that the forest is the same.
struct Pcg(u128);

impl Pcg {
    fn next(&mut self) -> u64 {
        const MUL: u128 = 2549297995355413924 << 64 | 4865540595714422341;
        const INC: u128 = 6364136223846793005 << 64 | 1442695040888963407;
        self.0 = self.0.wrapping_mul(MUL).wrapping_add(INC);
        const CHEAP: u64 = 0xda942042e4dd58b5;
        let (mut hi, lo) = ((self.0 >> 64) as u64, self.0 as u64);
        hi ^= hi >> 32;
        hi = hi.wrapping_mul(CHEAP);
        hi ^= hi >> 48;
        hi.wrapping_mul(lo | 1)
    }

    fn float(&mut self) -> f64 {
        (self.next() << 11 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn forest() -> Vec<Tree> {
    let mut r = Pcg(1 << 64 | 2);
    let mut out = vec![Tree { nodes: [Node::default(); LEAVES], votes: [0.0; LEAVES] }; TREES];
    for tree in out.iter_mut() {
        for (node, vote) in tree.nodes.iter_mut().zip(&mut tree.votes) {
            let feature = r.next() as u32 & (FEATURES as u32 - 1);
            *node = Node { feature, limit: r.float() * 1000.0 };
            *vote = r.float() - 0.5;
        }
    }
    out
}

/// So many trees go down side by side: each step waits for the one before, and has work beside it this way.
const GROUP: usize = 5;

/// What interleavedVotes is in Go: without branches, several trees at a time.
fn votes(trees: &[Tree], row: &[f64; FEATURES]) -> f64 {
    let mut sum = 0.0;
    for group in trees.chunks_exact(GROUP) {
        let mut at = [1; GROUP];
        for _ in 0..DEPTH {
            for (tree, i) in group.iter().zip(&mut at) {
                *i = step(tree, *i, row);
            }
        }
        for (tree, i) in group.iter().zip(at) {
            sum += tree.votes[i as usize & (LEAVES - 1)];
        }
    }
    sum
}

/// The sign of a difference in the place of a branch.
#[inline(always)]
fn step(tree: &Tree, i: u64, row: &[f64; FEATURES]) -> u64 {
    let node = &tree.nodes[i as usize & (LEAVES - 1)];
    2 * i + ((node.limit - row[node.feature as usize & (FEATURES - 1)]).to_bits() >> 63)
}

fn thresholds(f: &Flow<'_>) -> f64 {
    let odd = [
        f.fwd_packets() > 500,
        f.rev_bytes() > 100_000,
        f.fwd_len_mean() > 900.0,
        f.iat_max() > 10.0,
        f.syn_count() > 3.0,
        f.dst_port() < 1024,
    ];
    let score = odd.iter().map(|o| f64::from(u8::from(*o))).sum::<f64>();
    if f.dst_port() == MARKER_PORT {
        score + 1000.0
    } else {
        score
    }
}

/// The entropy of the bytes of a text, of the first 255 of them; `logs` are the logarithms of 0 (as of 1) to 255.
fn entropy(s: &str, logs: &[f64; 256]) -> f64 {
    let s = &s.as_bytes()[..s.len().min(255)];
    if s.is_empty() {
        return 0.0;
    }
    let mut seen = [0u8; 256];
    for b in s {
        seen[*b as usize] += 1;
    }
    let sum: f64 = s.iter().map(|b| logs[seen[*b as usize] as usize]).sum();
    logs[s.len()] - sum / s.len() as f64
}

fn logs() -> [f64; 256] {
    let mut out = [0.0; 256];
    for (i, log) in out.iter_mut().enumerate().skip(1) {
        *log = (i as f64).log2();
    }
    out
}

fn features(f: &Flow<'_>) -> [f64; FEATURES] {
    [
        f.fwd_packets() as f64, f.rev_packets() as f64, f.fwd_bytes() as f64, f.rev_bytes() as f64,
        f.fwd_payload() as f64, f.rev_payload() as f64,
        f.fwd_len_min(), f.fwd_len_max(), f.fwd_len_mean(), f.fwd_len_std(),
        f.rev_len_min(), f.rev_len_max(), f.rev_len_mean(), f.rev_len_std(),
        f.iat_min(), f.iat_max(), f.iat_mean(), f.iat_std(),
        f.fwd_iat_min(), f.fwd_iat_max(), f.fwd_iat_mean(), f.fwd_iat_std(),
        f.rev_iat_min(), f.rev_iat_max(), f.rev_iat_mean(), f.rev_iat_std(),
        f.syn_count(), f.fin_count(), f.psh_count(), f.ack_count(),
        f64::from(f.src_port()), f64::from(f.dst_port()),
    ]
}

fn finding(src: String, dst: String) -> Finding {
    Finding::new("odd", Severity::Low, "Odd.").risk(10, 0.5).technique("T1046").between(src, dst)
}

fn allocations() -> Result<Vec<u8>> {
    Ok(ALLOCATIONS.load(Ordering::Relaxed).to_string().into_bytes())
}

/// The detector of usual weight, and the light one without trees.
struct Flows<const HEAVY: bool> {
    trees: Vec<Tree>,
    logs: [f64; 256],
}

impl<const HEAVY: bool> Instance for Flows<HEAVY> {
    type Config = ();
    const SNAPSHOTS: bool = true;
    fn start(_: (), _: Host) -> Result<Self> {
        Ok(Flows { trees: if HEAVY { forest() } else { Vec::new() }, logs: logs() })
    }
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        allocations()
    }
    fn restore(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl<const HEAVY: bool> Detector for Flows<HEAVY> {
    fn inspect(&mut self, batch: &Batch<'_>, sink: &mut Sink<Finding>) -> Result<()> {
        for f in batch.flows {
            let mut score = thresholds(&f);
            if HEAVY {
                score += entropy(f.community_id(), &self.logs) / 100.0;
                let row = features(&f);
                score += votes(&self.trees, &row);
            }
            if score > 1000.0 {
                sink.put(finding(addr_text(f.src()), addr_text(f.dst())));
            }
        }
        Ok(())
    }
    fn flush(&mut self, _: &mut Sink<Finding>) -> Result<()> {
        Ok(())
    }
}

/// Walks the headers of packets.
struct Packets(u64);

impl Instance for Packets {
    type Config = ();
    const SNAPSHOTS: bool = true;
    fn start(_: (), _: Host) -> Result<Self> {
        Ok(Packets(0))
    }
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        allocations()
    }
    fn restore(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

impl Detector for Packets {
    fn inspect(&mut self, batch: &Batch<'_>, sink: &mut Sink<Finding>) -> Result<()> {
        for p in batch.packets {
            self.0 = self.0.wrapping_add(walk(p.data()));
        }
        if self.0 == 0 {
            sink.put(finding(String::new(), String::new()));
        }
        Ok(())
    }
    fn flush(&mut self, _: &mut Sink<Finding>) -> Result<()> {
        Ok(())
    }
}

fn walk(p: &[u8]) -> u64 {
    if p.len() < 34 || p[12..14] != [8, 0] {
        return 0;
    }
    let at = 14 + usize::from(p[14] & 15) * 4;
    match p.get(at..at + 4) {
        Some(b) => u64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]])) + u64::from(p[23]),
        None => 0,
    }
}

fn odd() -> Rule {
    Rule::new("odd", "A flow that looks odd.", Severity::Low).technique("T1046")
}

picket_sdk::register![
    detector::<Flows<true>>("bench/reference", "Measures hand-over.").flows().rule(odd()),
    detector::<Flows<false>>("bench/light", "Measures hand-over.").flows().rule(odd()),
    detector::<Packets>("bench/packets", "Measures hand-over.").packets(&[], 1600).rule(odd()),
];
