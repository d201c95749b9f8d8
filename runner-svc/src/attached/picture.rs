//! Whether bytes are a picture that the model takes: by their first and last bytes and their measures.
//!
//! A picture that the API refuses stays in the conversation, and each later question would be refused
//! with it. So what is not surely whole is only named, and claude looks at it with its own tools. Pure.

/// The longest side of a picture that the API takes.
const SIDE_MAX: u32 = 8000;
/// How far before the end of a JPEG its end may be marked.
const JPEG_TAIL: usize = 64;

/// Width and height of a picture of one kind; `None`: it is none, or not whole.
type Measure = fn(&[u8]) -> Option<(u32, u32)>;

/// The media type of a picture that the model takes; `None`: nobody knows.
pub(super) fn media_type(bytes: &[u8]) -> Option<&'static str> {
    let all: [(&str, Measure); 4] =
        [("image/png", png), ("image/jpeg", jpeg), ("image/gif", gif), ("image/webp", webp)];
    all.iter().find_map(|(media_type, measure)| {
        let (width, height) = measure(bytes)?;
        let fits = |side: u32| (1..=SIDE_MAX).contains(&side);
        (fits(width) && fits(height)).then_some(*media_type)
    })
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn u16_le(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn png(bytes: &[u8]) -> Option<(u32, u32)> {
    let begins = bytes.starts_with(b"\x89PNG\r\n\x1a\n") && bytes.get(12..16)? == b"IHDR";
    let ends = bytes.ends_with(b"IEND\xae\x42\x60\x82");
    if begins && ends { Some((u32_be(bytes, 16)?, u32_be(bytes, 20)?)) } else { None }
}

fn gif(bytes: &[u8]) -> Option<(u32, u32)> {
    let begins = bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a");
    let ends = bytes.ends_with(b";");
    if begins && ends { Some((u16_le(bytes, 6)?, u16_le(bytes, 8)?)) } else { None }
}

/// Goes from segment to segment up to the frame, which has the measures.
fn jpeg(bytes: &[u8]) -> Option<(u32, u32)> {
    let tail = bytes.get(bytes.len().saturating_sub(JPEG_TAIL)..)?;
    if !bytes.starts_with(b"\xff\xd8\xff") || !tail.windows(2).any(|it| it == b"\xff\xd9") {
        return None;
    }
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        match *bytes.get(at + 1)? {
            // Frames; the others between them are tables.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return Some((u16_be(bytes, at + 7)?, u16_be(bytes, at + 5)?));
            }
            0xff => at += 1,
            // The scan begins, and there was no frame.
            0xda => return None,
            _ => at += 2 + usize::try_from(u16_be(bytes, at + 2)?.max(2)).ok()?,
        }
    }
}

fn webp(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..12)? != b"WEBP" {
        return None;
    }
    let said = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    if usize::try_from(said).ok()?.checked_add(8)? != bytes.len() {
        return None;
    }
    let u24 = |at: usize| Some(u16_le(bytes, at)? | (u32::from(*bytes.get(at + 2)?) << 16));
    match bytes.get(12..16)? {
        b"VP8X" => Some((u24(24)? + 1, u24(27)? + 1)),
        b"VP8 " => Some((u16_le(bytes, 26)? & 0x3fff, u16_le(bytes, 28)? & 0x3fff)),
        b"VP8L" => {
            let bits = u16_le(bytes, 21)? | (u16_le(bytes, 23)? << 16);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PNG of these measures, as far as anybody here looks.
    fn a_png(width: u32, height: u32) -> Vec<u8> {
        let (width, height) = (width.to_be_bytes(), height.to_be_bytes());
        let parts: [&[u8]; 6] = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
            &width,
            &height,
            b"\x08\x06\0\0\0",
            b"\0\0\0\0",
            b"\0\0\0\0IEND\xae\x42\x60\x82",
        ];
        parts.concat()
    }

    #[test]
    fn a_whole_picture_of_sane_measures_is_known() {
        assert_eq!(media_type(&a_png(640, 480)), Some("image/png"));
        assert_eq!(media_type(b"GIF89a\x01\0\x01\0\0\0\0;"), Some("image/gif"));
        let jpeg = b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x0b\x08\0\x10\0\x20\x01\x01\x11\0\xff\xd9";
        assert_eq!(media_type(jpeg), Some("image/jpeg"));
        assert_eq!(super::jpeg(jpeg), Some((32, 16)));
        let mut webp = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x0f\0\0\x07\0\0".to_vec();
        assert_eq!((media_type(&webp), super::webp(&webp)), (Some("image/webp"), Some((16, 8))));
        webp.pop();
        assert_eq!(media_type(&webp), None, "it is cut off");
    }

    #[test]
    fn what_the_model_would_refuse_is_no_picture() {
        let whole = a_png(640, 480);
        for bytes in [
            &whole[..whole.len() - 4],
            &whole[..20],
            &a_png(8001, 1),
            &a_png(0, 5),
            b"\x89PNG",
            b"",
            b"hello",
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xda\0\x02\xff\xd9",
            b"RIFF",
        ] {
            assert_eq!(media_type(bytes), None, "{bytes:?}");
        }
    }
}
