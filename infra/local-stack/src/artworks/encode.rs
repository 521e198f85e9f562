//! From pixels to files.

use std::io::Cursor;

use image::{
    Delay, Frame, ImageFormat, RgbImage, RgbaImage,
    codecs::gif::{GifEncoder, Repeat},
};

use super::{Format, canvas::Canvas};

/// Encodes the first frame, or for GIF all of them.
///
/// Writing to memory cannot fail; if it did, the file would be empty, which the tests would see.
pub(super) fn encode(frames: &[Canvas], format: Format, frame_milliseconds: u32) -> Vec<u8> {
    let still = |format| {
        let mut file = Cursor::new(Vec::new());
        let written = picture(&frames[0]).map(|picture| picture.write_to(&mut file, format));
        matches!(written, Some(Ok(()))).then(|| file.into_inner())
    };
    let file = match format {
        Format::Png => still(ImageFormat::Png),
        Format::WebP => still(ImageFormat::WebP),
        Format::Bmp => still(ImageFormat::Bmp),
        Format::Gif => animation(frames, frame_milliseconds),
    };
    file.unwrap_or_default()
}

fn picture(canvas: &Canvas) -> Option<RgbImage> {
    let bytes = canvas.pixels().as_flattened().to_vec();
    RgbImage::from_vec(canvas.width() as u32, canvas.height() as u32, bytes)
}

fn animation(frames: &[Canvas], frame_milliseconds: u32) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = GifEncoder::new(&mut file);
    encoder.set_repeat(Repeat::Infinite).ok()?;
    for frame in frames {
        let bytes = frame.pixels().iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
        let picture = RgbaImage::from_vec(frame.width() as u32, frame.height() as u32, bytes)?;
        let delay = Delay::from_numer_denom_ms(frame_milliseconds, 1);
        encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).ok()?;
    }
    drop(encoder);
    Some(file)
}
