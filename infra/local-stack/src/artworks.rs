//! Pixel art made by the project itself, so that demo and tests work on real images: small sprites,
//! scenes and animations in the formats the site takes.
//!
//! Everything follows from the index: the same index gives the same bytes on every machine.

// Coordinates are those of pictures at most 128 pixels wide, and colours are bytes.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "all numbers here are small and not negative where they are cast"
)]

mod canvas;
mod catalogue;
mod encode;
mod fire;
mod invader;
mod landscape;
mod noise;
mod planet;
mod quilt;
mod skyline;
mod treasure;

use std::fmt;

use fastrand::Rng;

/// How an artwork is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Still.
    Png,
    /// Animated, for ever.
    Gif,
    /// Still, without loss.
    WebP,
    /// Still, uncompressed.
    Bmp,
}

impl Format {
    /// As in a post's `file_format`, and at the end of a file's name.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Format::Png => "png",
            Format::Gif => "gif",
            Format::WebP => "webp",
            Format::Bmp => "bmp",
        }
    }

    /// As in an HTTP header.
    #[must_use]
    pub fn content_type(self) -> String {
        format!("image/{}", self.extension())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.extension())
    }
}

/// A finished piece.
#[derive(Debug, Clone)]
pub struct Artwork {
    /// With accents and emoji, as titles have them.
    pub title: String,
    /// Some have none.
    pub description: Option<String>,
    /// Without `#`.
    pub hashtags: Vec<String>,
    /// How `bytes` are encoded.
    pub format: Format,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// 1 for a still image.
    pub frame_count: u16,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Draws the piece with this number. The first 28 differ in title as well as in content.
#[must_use]
pub fn artwork(index: u64) -> Artwork {
    let (motif, variation, round) = catalogue::pick(index);
    let format = motif.formats[variation];
    let mut rng = Rng::with_seed(index);
    let frames = (motif.draw)(&mut rng, variation, format == Format::Gif);
    let title = motif.titles[variation];
    Artwork {
        title: if round == 0 { title.to_owned() } else { format!("{title} {}", round + 1) },
        // Every fifth artist says nothing.
        description: (index % 5 != 4).then(|| motif.description.to_owned()),
        hashtags: motif.hashtags.iter().map(|&tag| tag.to_owned()).collect(),
        format,
        width: frames[0].width() as u16,
        height: frames[0].height() as u16,
        frame_count: frames.len() as u16,
        bytes: encode::encode(&frames, format, motif.frame_milliseconds),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Cursor};

    use image::{AnimationDecoder as _, ImageFormat, codecs::gif::GifDecoder};

    use super::*;

    const COUNT: u64 = 28;

    #[test]
    fn every_artwork_decodes_to_what_it_says_it_is() {
        for artwork in (0..COUNT).map(artwork) {
            let format = ImageFormat::from_extension(artwork.format.extension()).unwrap();
            assert_eq!(image::guess_format(&artwork.bytes).unwrap(), format);
            let picture = image::load_from_memory_with_format(&artwork.bytes, format).unwrap();
            assert_eq!(picture.width(), u32::from(artwork.width), "{}", artwork.title);
            assert_eq!(picture.height(), u32::from(artwork.height), "{}", artwork.title);
            assert!((16..=128).contains(&artwork.width) && (16..=128).contains(&artwork.height));

            let frames = match artwork.format {
                Format::Gif => {
                    let decoder = GifDecoder::new(Cursor::new(&artwork.bytes)).unwrap();
                    decoder.into_frames().collect_frames().unwrap().len()
                }
                _ => 1,
            };
            assert_eq!(frames, usize::from(artwork.frame_count), "{}", artwork.title);
            assert_eq!(frames > 1, artwork.format == Format::Gif, "{}", artwork.title);
        }
    }

    #[test]
    fn artworks_differ_and_come_in_every_format() {
        let artworks: Vec<_> = (0..COUNT).map(artwork).collect();
        let count = artworks.len();
        assert_eq!(artworks.iter().map(|a| &a.bytes).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(artworks.iter().map(|a| &a.title).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(artworks.iter().map(|a| a.format).collect::<BTreeSet<_>>().len(), 4);
        // A picture of one colour would be no artwork.
        for artwork in artworks.iter().filter(|artwork| artwork.format != Format::Gif) {
            let picture = image::load_from_memory(&artwork.bytes).unwrap().to_rgb8();
            let colours: BTreeSet<_> = picture.pixels().map(|pixel| pixel.0).collect();
            assert!(colours.len() >= 3, "{} has {} colours", artwork.title, colours.len());
        }
    }

    #[test]
    fn the_same_index_gives_the_same_bytes() {
        for index in [0, 4, 11, 1000] {
            assert_eq!(artwork(index).bytes, artwork(index).bytes);
        }
        assert_eq!(artwork(28).title, format!("{} 2", artwork(0).title));
    }
}
