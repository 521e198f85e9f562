//! Pixel art made by the project itself, so that demo and tests work on real images: sprites,
//! patterns and animations in the formats that the site accepts.
//!
//! Everything follows from the index: the same index gives the same bytes on every machine.

mod catalogue;
mod fire;
mod invader;
mod quilt;

use std::io::Cursor;

use fastrand::Rng;
use image::{
    Delay, DynamicImage, Frame, ImageFormat, ImageResult, Rgb, RgbImage,
    codecs::gif::{GifEncoder, Repeat},
};
use time::OffsetDateTime;

use crate::seed::Post;
use catalogue::PALETTES;

/// Six colours from dark to light.
type Palette = [Rgb<u8>; 6];

/// The colour written as in `0xRRGGBB`.
const fn rgb(hex: u32) -> Rgb<u8> {
    let [_, red, green, blue] = hex.to_be_bytes();
    Rgb([red, green, blue])
}

/// A finished piece.
#[derive(Debug, Clone)]
pub struct Artwork {
    /// Title, with accents and emoji.
    pub title: String,
    /// Description; every fifth artwork has none.
    pub description: Option<String>,
    /// Tags without `#`.
    pub hashtags: Vec<String>,
    /// Encoding of `bytes`: PNG, GIF, WebP or BMP. Every GIF is animated, the others are still.
    pub format: ImageFormat,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Number of frames; 1 for a still image.
    pub frame_count: u32,
    /// The encoded file.
    pub bytes: Vec<u8>,
}

impl Artwork {
    /// Returns the format as in a post's `file_format` and in file names.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        self.format.extensions_str()[0]
    }

    /// Returns the post that shows this artwork.
    #[must_use]
    pub fn post(
        &self,
        owner_id: i32,
        public_sqid: String,
        art_url: String,
        created_at: OffsetDateTime,
    ) -> Post {
        Post {
            owner_id,
            public_sqid: Some(public_sqid),
            title: self.title.clone(),
            description: self.description.clone(),
            hashtags: self.hashtags.clone(),
            art_url: Some(art_url),
            file_format: Some(self.extension().to_owned()),
            width: self.width.cast_signed(),
            height: self.height.cast_signed(),
            frame_count: self.frame_count.cast_signed(),
            created_at,
        }
    }
}

/// Draws the artwork with this number. The first 24 differ in motif and variation.
#[must_use]
pub fn artwork(index: usize) -> Artwork {
    let (motif, variation, round) = catalogue::pick(index);
    let format = motif.formats[variation % motif.formats.len()];
    let mut rng = Rng::with_seed(index as u64);
    let palette = PALETTES[index % PALETTES.len()].map(rgb);
    let frames = (motif.draw)(&mut rng, &palette, format == ImageFormat::Gif);
    let title = motif.titles[variation];
    Artwork {
        title: if round == 0 { title.to_owned() } else { format!("{title} {}", round + 1) },
        description: (index % 5 != 4).then(|| motif.description.to_owned()),
        hashtags: motif.hashtags.iter().map(|&tag| tag.to_owned()).collect(),
        format,
        width: frames[0].width(),
        height: frames[0].height(),
        frame_count: u32::try_from(frames.len()).unwrap_or(u32::MAX),
        // Writing to memory does not fail. If it did, the tests would find an empty file.
        bytes: encode(frames, format, motif.frame_milliseconds).unwrap_or_default(),
    }
}

/// Encodes all frames as an endless GIF, or the first one in another format.
fn encode(
    frames: Vec<RgbImage>,
    format: ImageFormat,
    frame_milliseconds: u32,
) -> ImageResult<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    if format == ImageFormat::Gif {
        let mut encoder = GifEncoder::new(&mut file);
        encoder.set_repeat(Repeat::Infinite)?;
        let delay = Delay::from_numer_denom_ms(frame_milliseconds, 1);
        encoder.encode_frames(
            frames.into_iter().map(|frame| {
                Frame::from_parts(DynamicImage::from(frame).into_rgba8(), 0, 0, delay)
            }),
        )?;
    } else {
        frames[0].write_to(&mut file, format)?;
    }
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use image::{AnimationDecoder as _, codecs::gif::GifDecoder};

    use super::*;

    const COUNT: usize = 28;

    #[test]
    fn every_artwork_decodes_to_what_it_declares() {
        for artwork in (0..COUNT).map(artwork) {
            let format = ImageFormat::from_extension(artwork.extension()).unwrap();
            assert_eq!(image::guess_format(&artwork.bytes).unwrap(), format);
            let picture = image::load_from_memory_with_format(&artwork.bytes, format).unwrap();
            assert_eq!(picture.width(), artwork.width, "{}", artwork.title);
            assert_eq!(picture.height(), artwork.height, "{}", artwork.title);
            assert!((16..=128).contains(&artwork.width) && (16..=128).contains(&artwork.height));

            let frames = match artwork.format {
                ImageFormat::Gif => {
                    let decoder = GifDecoder::new(Cursor::new(&artwork.bytes)).unwrap();
                    decoder.into_frames().collect_frames().unwrap().len()
                }
                _ => 1,
            };
            assert_eq!(frames, artwork.frame_count as usize, "{}", artwork.title);
            assert_eq!(frames > 1, artwork.format == ImageFormat::Gif, "{}", artwork.title);
        }
    }

    #[test]
    fn artworks_differ_and_come_in_every_format_and_several_sizes() {
        let artworks: Vec<_> = (0..COUNT).map(artwork).collect();
        let count = artworks.len();
        assert_eq!(artworks.iter().map(|a| &a.bytes).collect::<HashSet<_>>().len(), count);
        assert_eq!(artworks.iter().map(|a| &a.title).collect::<HashSet<_>>().len(), count);
        assert_eq!(artworks.iter().map(|a| a.format).collect::<HashSet<_>>().len(), 4);
        let sizes: HashSet<_> = artworks.iter().map(|a| (a.width, a.height)).collect();
        assert!(sizes.len() >= 8, "{sizes:?}");
        // A picture of one colour would be no artwork.
        for artwork in artworks.iter().filter(|artwork| artwork.format != ImageFormat::Gif) {
            let picture = image::load_from_memory(&artwork.bytes).unwrap().to_rgb8();
            let colours: HashSet<_> = picture.pixels().map(|pixel| pixel.0).collect();
            assert!(colours.len() >= 3, "{} has {} colours", artwork.title, colours.len());
        }
    }

    #[test]
    fn the_same_index_gives_the_same_bytes() {
        for index in [0, 4, 11, 1000] {
            assert_eq!(artwork(index).bytes, artwork(index).bytes);
        }
        assert_eq!(artwork(24).title, format!("{} 2", artwork(0).title));
    }
}
