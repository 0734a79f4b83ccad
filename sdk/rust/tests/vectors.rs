//! Reads the frames that the Go SDK wrote (internal/gen/vectors) and compares every field with what is in them.

use picket_sdk::frame::{self, Rows};
use picket_sdk::json::Json;
use picket_sdk::{Flow, Packet, Time};
use std::fs;
use std::path::{Path, PathBuf};

fn vectors() -> Vec<(String, Vec<u8>, Json)> {
    let dir = match std::env::var_os("PICKET_VECTORS") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../records/testdata/vectors"),
    };
    if !dir.is_dir() {
        eprintln!(
            "no vectors in {}: set PICKET_VECTORS to sdk/records/testdata/vectors of Picket's repository",
            dir.display()
        );
        return Vec::new();
    }
    let mut out = Vec::new();
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().map_or(false, |e| e == "bin") {
            let about = fs::read(path.with_extension("json")).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            out.push((name, fs::read(&path).unwrap(), Json::parse(&about).unwrap()));
        }
    }
    assert!(out.len() > 15, "only {} vectors", out.len());
    out
}

fn rows_of(about: &Json) -> &[Json] {
    match about.get("rows") {
        Some(Json::List(rows)) => rows,
        _ => panic!("no rows in {}", about),
    }
}

fn time(v: &Json) -> Time {
    v.as_i64().map_or(Time::NONE, Time::from_nanos)
}

fn float(v: &Json) -> f64 {
    match v.as_str() {
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        _ => v.as_f64().unwrap(),
    }
}

/// Compares each field of a row by its method of the same name.
macro_rules! same {
    ($name:expr, $row:expr, $want:expr, $more:expr; $($field:ident : $kind:ident),* $(,)?) => {
        $( same!(@$kind $name, $row.$field(), $want.get(stringify!($field)).expect(stringify!($field)), stringify!($field)); )*
        assert_eq!(Some([$(stringify!($field)),*].len() + $more), $want.len(), "{}: a field is not compared", $name);
    };
    (@num $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!(u64::from($got), $want.as_u64().unwrap(), "{} {}", $name, $field) };
    (@bit $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!(Json::Bool($got), *$want, "{} {}", $name, $field) };
    (@float $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!($got.to_bits() == float($want).to_bits() || $got.is_nan() && float($want).is_nan(), true, "{} {}: {}", $name, $field, $got) };
    (@time $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!($got, time($want), "{} {}", $name, $field) };
    (@text $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!(Some($got), $want.as_str(), "{} {}", $name, $field) };
    (@addr $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!($got.map_or(String::new(), |a| picket_sdk::addr_text(Some(a))), $want.as_str().unwrap(), "{} {}", $name, $field) };
    (@list $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!(Json::from($got.iter().collect::<Vec<u64>>()), *$want, "{} {}", $name, $field) };
    (@bytes $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!(base64($got), $want.as_str().unwrap(), "{} {}", $name, $field) };
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in data.chunks(3) {
        let v = chunk.iter().enumerate().fold(0u32, |v, (i, b)| v | u32::from(*b) << (16 - 8 * i));
        for i in 0..4 {
            out.push(if i <= chunk.len() { DIGITS[(v >> (18 - 6 * i)) as usize & 63] as char } else { '=' });
        }
    }
    out
}

fn same_flow(name: &str, f: Flow, want: &Json) {
    let features = if want.get("len_min").is_some() { f.features().to_vec() } else { Vec::new() };
    for (field, got) in &features {
        let wanted = float(want.get(field).expect(field));
        assert!(got.to_bits() == wanted.to_bits() || got.is_nan() && wanted.is_nan(), "{} {}: {}", name, field, got);
    }
    same!(name, f, want, features.len();
        id: num, start: time, end: time, src: addr, dst: addr, src_port: num, dst_port: num, vlan: num, proto: num, end_reason: num,
        initiator_guessed: bit, fwd_flags: num, rev_flags: num, fwd_first_flags: num, community_id: text, packets: list,
        fwd_packets: num, rev_packets: num, fwd_bytes: num, rev_bytes: num, fwd_payload: num, rev_payload: num,
        fwd_len_min: float, fwd_len_max: float, fwd_len_mean: float, fwd_len_std: float,
        rev_len_min: float, rev_len_max: float, rev_len_mean: float, rev_len_std: float,
        iat_min: float, iat_max: float, iat_mean: float, iat_std: float,
        fwd_iat_min: float, fwd_iat_max: float, fwd_iat_mean: float, fwd_iat_std: float,
        rev_iat_min: float, rev_iat_max: float, rev_iat_mean: float, rev_iat_std: float,
        syn_count: float, fin_count: float, rst_count: float, psh_count: float, ack_count: float, urg_count: float, handshake_rtt: float,
        app: text, tunnel: text, tunnel_id: num);
}

fn same_packet(name: &str, p: Packet, want: &Json) {
    same!(name, p, want, 0; number: num, time: time, data: bytes, length: num, link: num);
}

#[test]
fn every_field_of_every_row() {
    for (name, frame, about) in vectors() {
        let rows = rows_of(&about);
        if about.get("refused").is_some() {
            continue;
        }
        frame::verify(&frame).unwrap_or_else(|e| panic!("{}: {}", name, e));
        match about.get("schema").and_then(Json::as_str) {
            Some("flow") => {
                let got = Rows::<Flow>::parse(&frame).unwrap_or_else(|e| panic!("{}: {}", name, e));
                assert_eq!(got.len(), rows.len(), "{}", name);
                got.iter().zip(rows).for_each(|(f, want)| same_flow(&name, f, want));
            }
            Some("packet") => {
                let got = Rows::<Packet>::parse(&frame).unwrap_or_else(|e| panic!("{}: {}", name, e));
                assert_eq!(got.len(), rows.len(), "{}", name);
                got.iter().zip(rows).for_each(|(p, want)| same_packet(&name, p, want));
            }
            _ => {} // rows that a guest never reads
        }
    }
}

#[test]
fn what_must_be_refused() {
    for (name, frame, about) in vectors() {
        if let Some(why) = about.get("refused") {
            let taken = frame::verify(&frame).is_ok() && Rows::<Flow>::parse(&frame).is_ok();
            assert!(!taken, "{} was taken though {}", name, why);
        }
    }
}

/// No change of a byte may make a view read outside of its frame: that would panic here.
#[test]
fn hostile_frames() {
    for (name, frame, _) in vectors().into_iter().filter(|v| v.0.starts_with("flow-edge")) {
        for at in 0..frame.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut changed = frame.clone();
                changed[at] ^= bits;
                if let Ok(rows) = Rows::<Flow>::parse(&changed) {
                    for f in rows.iter() {
                        let _ = (f.to_ref(), f.packets().iter().count(), f.duration(), f.start().to_string());
                    }
                }
            }
        }
        assert!(Rows::<Packet>::parse(&frame).is_err(), "{}", name);
    }
}
