//! The detector without a host.

use picket_sdk::testing::Bench;
use picket_sdk::{Class, Op};

fn bench(config: &str) -> picket_sdk::Result<Bench> {
    let mut b = Bench::new(slow_transfer::picket_plugins());
    b.configure("acme/slow-transfer", config)?;
    Ok(b)
}

#[test]
fn a_life_without_records() {
    let mut b = bench("{}").unwrap();
    b.run(Op::Describe).unwrap();
    b.run(Op::Health).unwrap();
    assert_eq!(b.run(Op::Flush).unwrap(), picket_sdk::json::Json::Null);
    b.run(Op::Stop).unwrap();
    b.run(Op::Stop).unwrap();
    assert!(b.run(Op::Flush).is_err());
}

#[test]
fn bad_configurations() {
    for text in [r#"{"min_byte": 1}"#, r#"{"min_bytes": 0}"#, r#"{"min_duration": "1"}"#, r#"{"many": "x"}"#] {
        assert_eq!(bench(text).err().unwrap().class, Class::InvalidConfig, "{}", text);
    }
}

#[test]
fn what_is_no_frame() {
    let mut b = bench("{}").unwrap();
    assert!(b.inspect("c", b"PKRW").is_err());
    b.run(Op::Health).unwrap();
    assert_eq!(b.run(Op::Collect).unwrap_err().class, Class::Unsupported);
}
