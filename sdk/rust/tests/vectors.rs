//! Reads the frames that the Go SDK wrote (internal/gen/vectors) and compares every field with what is in them.

use picket_sdk::frame::{self, Row, Rows};
use picket_sdk::json::Json;
use picket_sdk::{Content, File, Flow, FlowRef, Login, Message, Packet, Time, ARP, DHCP, DNS, HTTP, OT, SMB, TLS};
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
        $( same!(@$kind $name, $row.$field(), $want.get(stringify!($field).trim_end_matches('_')).expect(stringify!($field)), stringify!($field)); )*
        assert_eq!(Some([$(stringify!($field)),*].len() + $more), $want.len(), "{}: a field is not compared", $name);
    };
    (@num $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!(u64::from($got), $want.as_u64().unwrap(), "{} {}", $name, $field) };
    (@int $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!($got, $want.as_i64().unwrap(), "{} {}", $name, $field) };
    (@texts $name:expr, $got:expr, $want:expr, $field:expr) => { assert_eq!(Json::from($got.iter().collect::<Vec<&str>>().as_slice()), *$want, "{} {}", $name, $field) };
    (@map $name:expr, $got:expr, $want:expr, $field:expr) => {
        assert_eq!(Some($got.len()), $want.len(), "{} {}", $name, $field);
        $got.iter().for_each(|(key, value)| assert_eq!($want.get(key).and_then(Json::as_str), Some(value), "{} {} {}", $name, $field, key));
    };
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

fn same_dns(name: &str, f: DNS, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, protocol: text, id: num, response: bit, opcode: num, rcode: num, query: text, qtype: num, qclass: num, answers: texts, answer_types: list, answer_ttls: list, answer_names: texts, questions: num, answer_count: num, authority_count: num, additional_count: num, authoritative: bit, truncated: bit, recursion_desired: bit, recursion_available: bit, authentic: bit, damaged: bit, length: num, edns_size: num);
}

fn same_tls(name: &str, f: TLS, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, protocol: text, version: num, offered: num, cipher: num, quic: num, server_name: text, alpn: text, alpns: texts, ciphers: list, groups: list, ja3: text, ja3s: text, ja4: text, encrypted: bit, retry: bit, chain: texts, subject: text, issuer: text, serial: text, not_before: time, not_after: time, names: texts, key_type: text, key_bits: num, signature: text, ca: bit, self_signed: bit, certificate_damaged: bit, damaged: bit, heartbeat_asked: num, heartbeat_answered: num);
}

fn same_http(name: &str, f: HTTP, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, version: text, number: num, method: text, host: text, target: text, user_agent: text, referer: text, request_type: text, request_length: int, request_headers: texts, status: num, reason: text, software: text, content_type: text, response_length: int, location: text, response_headers: texts, grpc: bit, grpc_status: text, response_time: float);
}

fn same_smb(name: &str, f: SMB, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, version: num, response: bit, command: num, name: text, status: num, message_id: num, session: num, tree: num, dialect: num, dialects: list, share: text, file: text, access: num, user: text, domain: text, host: text, encrypted: bit, compressed: bit, ntlm: num);
}

fn same_dhcp(name: &str, f: DHCP, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, version: num, type_: num, reply: bit, name: text, xid: num, mac: text, client_addr: addr, your_addr: addr, server_addr: addr, relay: addr, requested: addr, mask: addr, routers: texts, dns_servers: texts, lease: num, hostname: text, domain: text, fqdn: text, vendor_class: text, parameters: bytes, client_id: bytes, damaged: bit);
}

fn same_arp(name: &str, f: ARP, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, protocol: text, operation: text, source_mac: text, sender_mac: text, sender_ip: addr, target_mac: text, target_ip: addr, announce: bit, probe: bit, router: bit);
}

fn same_ot(name: &str, f: OT, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, protocol: text, function: num, name: text, action: text, response: bit, failed: bit, error: num, unit: text, object: text, address: num, quantity: num, value: bytes, details: map);
}

fn same_file(name: &str, f: File, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, protocol: text, name: text, type_: text, size: num, expected: num, complete: bit, sha256: text, md5: text, entropy: float, begin: bytes);
}

fn same_content(name: &str, f: Content, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, protocol: text, name: text, type_: text, size: num, complete: bit, sha256: text, md5: text, data: bytes);
}

fn same_login(name: &str, f: Login, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, protocol: text, user: text, method: text, result: text, clear: bit, code: text);
}

fn same_message(name: &str, f: Message, want: &Json) {
    same!(name, f, want, 0; flow: num, packet: num, time: time, client: addr, server: addr, client_port: num, server_port: num, vlan: num, proto: num, from_server: bit, protocol: text, name: text, response: bit, code: text, text: text, fields: map);
}

fn compare<'a, R: Row<'a>>(name: &str, frame: &'a [u8], want: &[Json], same: fn(&str, R, &Json)) {
    let got = Rows::<R>::parse(frame).unwrap_or_else(|e| panic!("{}: {}", name, e));
    assert_eq!(got.len(), want.len(), "{}", name);
    got.iter().zip(want).for_each(|(row, want)| same(name, row, want));
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
            Some("flow") => compare::<Flow>(&name, &frame, rows, same_flow),
            Some("packet") => compare::<Packet>(&name, &frame, rows, same_packet),
            Some("dns") => compare::<DNS>(&name, &frame, rows, same_dns),
            Some("tls") => compare::<TLS>(&name, &frame, rows, same_tls),
            Some("http") => compare::<HTTP>(&name, &frame, rows, same_http),
            Some("smb") => compare::<SMB>(&name, &frame, rows, same_smb),
            Some("dhcp") => compare::<DHCP>(&name, &frame, rows, same_dhcp),
            Some("arp") => compare::<ARP>(&name, &frame, rows, same_arp),
            Some("ot") => compare::<OT>(&name, &frame, rows, same_ot),
            Some("file") => compare::<File>(&name, &frame, rows, same_file),
            Some("content") => compare::<Content>(&name, &frame, rows, same_content),
            Some("login") => compare::<Login>(&name, &frame, rows, same_login),
            Some("message") => compare::<Message>(&name, &frame, rows, same_message),
            _ => {} // rows that a guest never reads
        }
    }
}

#[test]
fn what_must_be_refused() {
    for (name, frame, about) in vectors() {
        if let Some(why) = about.get("refused") {
            let taken = frame::verify(&frame).is_ok() && read_as(&about, &frame).is_ok();
            assert!(!taken, "{} was taken though {}", name, why);
        }
    }
}

fn read_as(about: &Json, frame: &[u8]) -> Result<(), String> {
    match about.get("schema").and_then(Json::as_str) {
        Some("flow") => Rows::<Flow>::parse(frame).map(drop),
        Some("dns") => Rows::<DNS>::parse(frame).map(drop),
        Some("arp") => Rows::<ARP>::parse(frame).map(drop),
        Some("message") => Rows::<Message>::parse(frame).map(drop),
        other => panic!("no test reads {:?}", other),
    }
}

/// Rows and lists may share a text as long as all of them written out stay within a frame.
#[test]
fn shared_texts() {
    let mut seen = 0;
    for (name, mut frame, about) in
        vectors().into_iter().filter(|v| v.0.starts_with("refused-shared-") && v.0 != "refused-shared-list")
    {
        seen += 1;
        assert!(frame::verify(&frame).is_ok(), "{}", name);
        let why = read_as(&about, &frame).unwrap_err();
        assert!(why.contains("texts together"), "{}: {}", name, why);
        // A shorter list, or a shorter text of the first row, is taken.
        let (at, n) = match name.as_str() {
            "refused-shared-text" => (32 + 72, 1),
            "refused-shared-texts" => (32 + 88, 1400),
            _ => (32 + 104, 1400),
        };
        frame[at + 4..at + 8].copy_from_slice(&u32::to_le_bytes(n));
        read_as(&about, &frame).unwrap_or_else(|e| panic!("{}: {}", name, e));
    }
    assert!(seen == 0 || seen == 3, "{} vectors", seen);
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
    for (_, frame, _) in vectors().into_iter().filter(|v| v.0 == "facts-dns" || v.0 == "facts-message") {
        for at in 0..frame.len() {
            for bits in [0x01, 0x80, 0xff] {
                let mut changed = frame.clone();
                changed[at] ^= bits;
                if let Ok(rows) = Rows::<DNS>::parse(&changed) {
                    rows.iter()
                        .for_each(|d| assert!(d.answers().iter().map(str::len).sum::<usize>() <= changed.len() * 3));
                }
                if let Ok(rows) = Rows::<Message>::parse(&changed) {
                    rows.iter().for_each(|m| {
                        assert!(m.fields().iter().count() == m.fields().len() && m.fields().get("?").is_none())
                    });
                }
            }
        }
    }
}

#[test]
fn a_fact_names_its_flow() {
    let client = (Some("10.0.0.1".parse().unwrap()), 40000);
    let server = (Some("2001:db8::53".parse().unwrap()), 53);
    let found = FlowRef::of_fact(7, 17, client, server).unwrap();
    assert_eq!((found.id, found.proto.as_str()), (7, "udp"));
    assert_eq!((found.src.as_str(), found.dst.as_str()), ("10.0.0.1:40000", "[2001:db8::53]:53"));
    assert_eq!(FlowRef::of_fact(0, 0, (None, 0), (None, 0)), None);
}
