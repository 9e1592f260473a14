use super::*;

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

#[test]
fn variable_length_integers_go_round_at_every_length() {
    for shift in 0..32 {
        for value in [1u32 << shift, (1u32 << shift) - 1, !(1u32 << shift)] {
            let mut w = Writer::new();
            w.put_uvarint(value);
            assert_eq!(w.len(), uvarint_len(value), "{value}");
            w.put_varint(value as i32);
            let mut r = Reader::new(w.into_bytes());
            assert_eq!((r.uvarint(), r.varint()), (Ok(value), Ok(value as i32)));
            assert_eq!(r.left(), 0);
        }
    }
    for shift in 0..64 {
        for value in [1i64 << shift, (1i64 << shift).wrapping_sub(1), !(1i64 << shift)] {
            let mut w = Writer::new();
            w.put_varlong(value);
            assert_eq!(w.len(), varlong_len(value), "{value}");
            assert_eq!(Reader::new(w.into_bytes()).varlong(), Ok(value));
        }
    }
}

#[test]
fn variable_length_integers_that_are_too_long_are_refused() {
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint(), Ok(u32::MAX));
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint().unwrap_err().reason(), &Reason::Varint);
    assert_eq!(reader(&[0x80; 6]).uvarint().unwrap_err().reason(), &Reason::Varint);
    assert_eq!(reader(&[0x80; 11]).varlong().unwrap_err().reason(), &Reason::Varint);
    assert!(matches!(reader(&[0x80; 4]).uvarint().unwrap_err().reason(), Reason::Short { .. }));
}

#[test]
fn strings_are_bounded_and_mended() {
    assert_eq!(reader(&[0, 2, b'h', b'i']).string(false), Ok("hi".into()));
    assert_eq!(reader(&[3, b'h', b'i']).string(true), Ok("hi".into()));
    assert_eq!(reader(&[0xff, 0xff]).nullable_string(false), Ok(None));
    assert_eq!(reader(&[0]).nullable_string(true), Ok(None));
    assert_eq!(reader(&[0]).string(true).unwrap_err().reason(), &Reason::Null);
    assert_eq!(reader(&[0xff, 0xfe]).string(false).unwrap_err().reason(), &Reason::Length(-2));
    assert_eq!(reader(&[3, b'h', 0xff]).string(true), Ok("h\u{fffd}".into()));
    let long = "x".repeat(STRING_MAX + 1);
    for compact in [false, true] {
        let refused = Writer::new().put_nullable_string(Some(&long), compact).unwrap_err();
        assert_eq!(refused.refusal(), &Refusal::TooLong(STRING_MAX + 1));
    }
    let mut w = Writer::new();
    w.put_uvarint(STRING_MAX as u32 + 2);
    w.put_slice(long.as_bytes());
    assert_eq!(Reader::new(w.into_bytes()).string(true).unwrap_err().reason(), &Reason::Length(32768));
}

#[test]
fn a_reader_takes_so_many_elements_and_no_more() {
    let lists = [&[0, 0, 0, 3][..], &[0; 3], &[0, 0, 0, 2], &[0; 2], &[0, 0, 0, 0], &[0xff; 4]].concat();
    let read = |elements: usize| {
        let mut r = Reader::with_elements(lists.clone().into(), elements);
        let mut all = 0;
        for _ in 0..4 {
            let count = r.elements(false, 1)?.unwrap_or(0);
            r.skip(count)?;
            all += count;
        }
        Ok(all)
    };
    assert_eq!(read(5), Ok(5));
    assert_eq!(read(usize::MAX), Ok(5));
    let refused: DecodeError = read(4).unwrap_err();
    assert_eq!(refused.reason(), &Reason::Elements { count: 2, allowed: 1 });
}

#[test]
fn a_list_is_refused_before_it_is_read_if_it_cannot_fit() {
    let claim = [0x7f, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let refused = reader(&claim).elements(false, 2).unwrap_err();
    assert_eq!(refused.reason(), &Reason::Short { needed: 0xffff_fffe, left: 4 });
    assert_eq!(reader(&[0, 0, 0, 2, 1, 2, 3, 4]).elements(false, 2), Ok(Some(2)));
    assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff]).elements(false, 2), Ok(None));
    assert_eq!(
        reader(&[0xff, 0xff, 0xff, 0xfe]).elements(false, 2).unwrap_err().reason(),
        &Reason::Length(-2)
    );
}

#[test]
fn slices_share_the_frame() {
    let frame = Bytes::from(vec![0, 0, 0, 3, 7, 8, 9, 1]);
    let mut r = Reader::new(frame.clone());
    let bytes = r.nullable_bytes(false).unwrap().unwrap();
    assert_eq!(bytes.as_ptr(), frame[4..].as_ptr());
    assert_eq!((r.left(), r.finish().unwrap_err().reason().clone()), (1, Reason::Trailing(1)));
}

#[test]
fn tagged_fields_are_read_or_skipped_and_must_fill_their_size() {
    // Tag 0 of two bytes, tag 7 of one byte.
    let section = [2, 0, 2, 0x12, 0x34, 7, 1, 9, 0xaa];
    let mut found = None;
    let mut r = reader(&section);
    r.tags(&mut |tag, r| {
        if tag == 0 {
            found = Some(r.i16()?);
        }
        Ok(tag == 0)
    })
    .unwrap();
    assert_eq!((found, r.left()), (Some(0x1234), 1));

    let mut short = reader(&section);
    let refused = short.tags(&mut |_, r| r.u8().map(|_| true)).unwrap_err();
    assert_eq!(refused.reason(), &Reason::Trailing(1));
    let refused = reader(&[1, 0, 2, 0, 0, 9]).tags(&mut |_, r| r.i32().map(|_| true)).unwrap_err();
    assert_eq!(refused.reason(), &Reason::Short { needed: 4, left: 2 }, "a field ends with its own size");
    assert!(reader(&[1, 0, 9, 0]).tags(&mut |_, _| Ok(false)).is_err());
}

#[test]
fn tagged_fields_of_any_size_are_written_with_their_size_before_them() {
    for len in [0, 1, 127, 128, 300, 20_000] {
        let mut w = Writer::new();
        w.put_i8(5);
        w.put_tagged(3, |w| {
            w.put_shared(&Bytes::from(vec![1; len]));
            Ok(())
        })
        .unwrap();
        let mut expected = Writer::new();
        expected.put_i8(5);
        expected.put_uvarint(3);
        expected.put_uvarint(len as u32);
        expected.put_slice(&vec![1; len]);
        assert_eq!(w.into_bytes(), expected.into_bytes());
    }
}

#[test]
fn long_shared_bytes_are_spliced_in_and_short_ones_copied() {
    let (long, short) = (Bytes::from(vec![7; SPLICE_MIN]), Bytes::from(vec![8; SPLICE_MIN - 1]));
    let mut w = Writer::new();
    w.put_shared(&long);
    w.put_i32(1);
    w.put_shared(&short);
    w.put_shared(&long);
    w.put_shared(&long);
    w.put_i8(2);
    let len = w.len();
    let slices = w.into_slices();
    assert_eq!(slices.iter().map(Bytes::len).collect::<Vec<_>>(), [2048, 4 + 2047, 2048, 2048, 1]);
    assert_eq!(slices.iter().map(Bytes::len).sum::<usize>(), len);
    for i in [0, 2, 3] {
        assert_eq!(slices[i].as_ptr(), long.as_ptr());
    }
}

#[test]
fn records_compare_by_their_bytes() {
    let whole = Records::from(Bytes::from_static(b"abcdef"));
    let parts = Records::from(vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(b"def")]);
    assert_eq!(whole, parts);
    assert_ne!(whole, Records::from(Bytes::from_static(b"abcdeg")));
    assert_eq!((parts.len(), parts.to_bytes()), (6, whole.to_bytes()));
    assert!(Records::default().is_empty());
}

#[test]
fn an_error_says_what_and_where() {
    let error = reader(&[1]).i32().unwrap_err().within("FetchTopic").within("FetchRequest");
    let text = error.to_string();
    assert_eq!(text, "FetchRequest: FetchTopic: 4 bytes are needed, 1 are left (at byte 0)");
}
