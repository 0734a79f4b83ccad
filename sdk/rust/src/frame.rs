//! Frames of fixed-layout rows. A frame comes from another program, so nothing in it is believed: sizes and references
//! are checked once, in [`Rows::parse`]; after that a view cannot fail.

use crate::Time;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The largest frame, in bytes.
pub const MAX_FRAME: usize = 16 << 20;

const MAGIC: &[u8] = b"PKRW";
const HEADER: usize = 32;
const SUM_AT: usize = 28;
const MAX_ROW: usize = 64 << 10;

/// A view of one row.
pub trait Row<'a>: Sized + Copy {
    /// The name of its schema.
    const NAME: &'static str;
    /// The id of its schema.
    const SCHEMA: u16;
    /// The major version that this crate reads.
    const MAJOR: u16;
    /// The size of the shortest row, in bytes.
    const BASELINE: usize;
    #[doc(hidden)]
    fn new(row: &'a [u8], heap: &'a [u8]) -> Option<Self>;
    #[doc(hidden)]
    fn check(&self, heap: &mut Heap);
}

/// A view of a fact: what a parser of the traffic engine understood.
pub trait Fact<'a>: Row<'a> {
    /// Its kind, as [`crate::Plugin::facts`] names it.
    const KIND: &'static str;
}

/// The rows of one frame.
#[derive(Clone, Copy)]
pub struct Rows<'a, R> {
    rows: &'a [u8],
    heap: &'a [u8],
    size: usize,
    kind: PhantomData<R>,
}

impl<'a, R: Row<'a>> Rows<'a, R> {
    /// No rows.
    pub const NONE: Rows<'a, R> = Rows { rows: &[], heap: &[], size: 1, kind: PhantomData };

    /// The rows of a frame of this schema. The checksum is not compared: the host has done it for what it hands over.
    pub fn parse(frame: &'a [u8]) -> Result<Self, String> {
        let h = Header::parse(frame)?;
        if h.schema != R::SCHEMA {
            return Err(format!("schema {}, want {} ({})", h.schema, R::SCHEMA, R::NAME));
        }
        if h.major != R::MAJOR {
            return Err(format!("schema {} has major version {}, this plugin reads {}", R::NAME, h.major, R::MAJOR));
        }
        if h.row_size < R::BASELINE {
            return Err(format!("rows of {} bytes, schema {} has at least {}", h.row_size, R::NAME, R::BASELINE));
        }
        let (rows, heap) = frame[HEADER..].split_at(h.heap - HEADER);
        let all: Rows<R> = Rows { rows, heap, size: h.row_size, kind: PhantomData };
        let mut refs = Heap { size: heap.len() as u64, listed: 0, held: 0, bad: false };
        for row in all.iter() {
            row.check(&mut refs);
        }
        if refs.bad || refs.listed > refs.size {
            return Err(format!("a reference leaves the heap of {} bytes, or its lists are longer", refs.size));
        }
        if refs.held > MAX_FRAME as u64 {
            return Err(format!("its texts together are longer than {} bytes", MAX_FRAME));
        }
        Ok(all)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len() / self.size
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, in order.
    #[inline]
    pub fn iter(&self) -> RowsIter<'a, R> {
        RowsIter { rows: self.rows.chunks_exact(self.size), heap: self.heap, kind: PhantomData }
    }
}

impl<'a, R: Row<'a>> IntoIterator for Rows<'a, R> {
    type Item = R;
    type IntoIter = RowsIter<'a, R>;
    fn into_iter(self) -> RowsIter<'a, R> {
        self.iter()
    }
}

impl<'a, R: Row<'a>> IntoIterator for &Rows<'a, R> {
    type Item = R;
    type IntoIter = RowsIter<'a, R>;
    fn into_iter(self) -> RowsIter<'a, R> {
        self.iter()
    }
}

/// Goes through rows.
pub struct RowsIter<'a, R> {
    rows: std::slice::ChunksExact<'a, u8>,
    heap: &'a [u8],
    kind: PhantomData<R>,
}

impl<'a, R: Row<'a>> Iterator for RowsIter<'a, R> {
    type Item = R;
    #[inline]
    fn next(&mut self) -> Option<R> {
        R::new(self.rows.next()?, self.heap)
    }
}

struct Header {
    schema: u16,
    major: u16,
    row_size: usize,
    heap: usize,
}

impl Header {
    fn parse(frame: &[u8]) -> Result<Header, String> {
        if frame.len() < HEADER || &frame[..4] != MAGIC {
            return Err(format!("{} bytes without the magic PKRW", frame.len()));
        }
        if frame.len() > MAX_FRAME {
            return Err(format!("{} bytes are more than {}", frame.len(), MAX_FRAME));
        }
        let u32 = |at: usize| u64::from(u32_at(frame, at));
        let (row_size, count, heap, total) = (u32(8), u32(12), u32(16), u32(20));
        if total != frame.len() as u64 {
            return Err(format!("{} bytes, the header says {}", frame.len(), total));
        }
        if row_size == 0 || row_size > MAX_ROW as u64 {
            return Err(format!("row size {}", row_size));
        }
        if heap > total || heap != HEADER as u64 + row_size * count {
            return Err(format!(
                "{} rows of {} bytes do not end at the heap offset {} within {} bytes",
                count, row_size, heap, total
            ));
        }
        Ok(Header {
            schema: u16_at(frame, 4),
            major: u16_at(frame, 6),
            row_size: row_size as usize,
            heap: heap as usize,
        })
    }
}

/// The id of the schema in the header of a frame.
pub fn schema(frame: &[u8]) -> Result<u16, String> {
    Header::parse(frame).map(|h| h.schema)
}

/// Compares the checksum of a frame, for one that no host has checked.
pub fn verify(frame: &[u8]) -> Result<(), String> {
    Header::parse(frame)?;
    let got = !frame[..SUM_AT]
        .iter()
        .chain(&frame[HEADER..])
        .fold(!0, |crc: u32, byte| crc >> 8 ^ CRC[(crc as u8 ^ byte) as usize]);
    let want = u32_at(frame, SUM_AT);
    if got != want {
        return Err(format!("checksum {:08x}, the header says {:08x}", got, want));
    }
    Ok(())
}

/// The table of CRC-32C.
static CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// Heap checks the references of all rows against the heap.
#[doc(hidden)]
pub struct Heap {
    size: u64,
    listed: u64,
    held: u64,
    bad: bool,
}

impl Heap {
    /// Rows may share a text, which costs no memory; but whoever writes them out writes it each time, so texts are added up.
    #[inline]
    pub(crate) fn text(&mut self, reference: u64) {
        self.bad |= (reference & 0xffff_ffff) + (reference >> 32) > self.size;
        self.held = self.held.saturating_add(reference >> 32);
    }

    /// Rows that share one list could turn a small frame into much work, so lists are added up.
    #[inline]
    pub(crate) fn list(&mut self, reference: u64) {
        let bytes = (reference >> 32) * 8;
        self.bad |= (reference & 0xffff_ffff) + bytes > self.size;
        self.listed = self.listed.saturating_add(bytes);
    }
}

impl Heap {
    /// Each text of a list is looked at once, and only in a list that lies inside the heap.
    #[inline]
    pub(crate) fn texts(&mut self, reference: u64, heap: &[u8]) {
        self.list(reference);
        span(reference, 8, heap).chunks_exact(8).for_each(|c| self.text(u64_at(c, 0)));
    }

    #[inline]
    pub(crate) fn map(&mut self, reference: u64, heap: &[u8]) {
        self.list(reference.saturating_add(reference >> 32 << 32)); // an entry has the size of two
        span(reference, 16, heap).chunks_exact(8).for_each(|c| self.text(u64_at(c, 0)));
    }
}

/// A list of texts in a frame.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    refs: &'a [u8],
    heap: &'a [u8],
}

impl<'a> Texts<'a> {
    /// No texts.
    pub const NONE: Texts<'a> = Texts { refs: &[], heap: &[] };

    /// How many there are.
    pub fn len(&self) -> usize {
        self.refs.len() / 8
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + 'a {
        let heap = self.heap;
        self.refs.chunks_exact(8).map(move |c| text_at(c, 0, heap))
    }
}

/// Names and their values in a frame, ordered by name.
#[derive(Clone, Copy)]
pub struct TextMap<'a> {
    refs: &'a [u8],
    heap: &'a [u8],
}

impl<'a> TextMap<'a> {
    /// No names.
    pub const NONE: TextMap<'a> = TextMap { refs: &[], heap: &[] };

    /// How many there are.
    pub fn len(&self) -> usize {
        self.refs.len() / 16
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.refs.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        let heap = self.heap;
        self.refs.chunks_exact(16).map(move |c| (text_at(c, 0, heap), text_at(c, 8, heap)))
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// A list of numbers in a frame.
#[derive(Clone, Copy)]
pub struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    /// No numbers.
    pub const NONE: Numbers<'a> = Numbers(&[]);

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len() / 8
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + 'a {
        self.0.chunks_exact(8).map(|c| u64_at(c, 0))
    }
}

#[inline(always)]
pub(crate) fn split<const N: usize>(row: &[u8]) -> Option<(&[u8; N], &[u8])> {
    if row.len() < N {
        return None;
    }
    let (head, more) = row.split_at(N);
    Some((head.try_into().ok()?, more))
}

macro_rules! at {
    ($name:ident $t:ty) => {
        #[inline(always)]
        #[allow(dead_code)]
        pub(crate) fn $name(row: &[u8], at: usize) -> $t {
            let mut bytes = [0; std::mem::size_of::<$t>()];
            bytes.copy_from_slice(&row[at..at + std::mem::size_of::<$t>()]);
            <$t>::from_le_bytes(bytes)
        }
    };
}

at!(u16_at u16);
at!(u32_at u32);
at!(u64_at u64);
at!(i64_at i64);
at!(f64_at f64);

#[inline(always)]
pub(crate) fn u8_at(row: &[u8], at: usize) -> u8 {
    row[at]
}

/// The text of an enum; a number beyond its texts is not set, as the first one.
#[inline]
pub(crate) fn enum_at(row: &[u8], at: usize, texts: &'static [&'static str]) -> &'static str {
    texts.get(usize::from(row[at])).unwrap_or(&texts[0])
}

#[inline(always)]
pub(crate) fn bool_at(row: &[u8], at: usize) -> bool {
    row[at] != 0
}

#[inline(always)]
pub(crate) fn time_at(row: &[u8], at: usize) -> Time {
    Time::from_nanos(i64_at(row, at))
}

#[inline]
pub(crate) fn addr_at(row: &[u8], at: usize, kind_at: usize) -> Option<IpAddr> {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&row[at..at + 16]);
    match row[kind_at] {
        4 => Some(Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]).into()),
        6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

#[inline]
pub(crate) fn bytes_at<'a>(row: &[u8], at: usize, heap: &'a [u8]) -> &'a [u8] {
    span(u64_at(row, at), 1, heap)
}

/// What is not UTF-8 ends the text; the host sends none.
#[inline]
pub(crate) fn text_at<'a>(row: &[u8], at: usize, heap: &'a [u8]) -> &'a str {
    let bytes = bytes_at(row, at, heap);
    match std::str::from_utf8(bytes) {
        Ok(s) => s,
        Err(e) => std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or(""),
    }
}

#[inline]
pub(crate) fn numbers_at<'a>(row: &[u8], at: usize, heap: &'a [u8]) -> Numbers<'a> {
    Numbers(span(u64_at(row, at), 8, heap))
}

#[inline]
pub(crate) fn texts_at<'a>(row: &[u8], at: usize, heap: &'a [u8]) -> Texts<'a> {
    Texts { refs: span(u64_at(row, at), 8, heap), heap }
}

#[inline]
pub(crate) fn text_map_at<'a>(row: &[u8], at: usize, heap: &'a [u8]) -> TextMap<'a> {
    TextMap { refs: span(u64_at(row, at), 16, heap), heap }
}

#[inline]
fn span(reference: u64, size: u64, heap: &[u8]) -> &[u8] {
    let start = reference & 0xffff_ffff;
    let end = start + (reference >> 32) * size;
    if end > heap.len() as u64 {
        return &[];
    }
    &heap[start as usize..end as usize]
}
