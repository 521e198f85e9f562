//! A tile with the symmetry of a square, repeated.

use fastrand::Rng;
use image::RgbImage;

use super::Palette;

/// Width and height of the tile.
const TILE: u32 = 16;

pub(super) fn draw(rng: &mut Rng, palette: &Palette, _animated: bool) -> Vec<RgbImage> {
    let (core, star, sprinkles) = (rng.u32(3..6), rng.u32(6..9), rng.u32(..));
    let (columns, rows) = (rng.u32(2..=6), rng.u32(2..=6));
    // An eighth of the tile is made up, the rest are mirrors of it.
    vec![RgbImage::from_fn(columns * TILE, rows * TILE, |x, y| {
        let (a, b) = (from_middle(x), from_middle(y));
        let (near, far) = (a.min(b), a.max(b));
        let colour = match near + far {
            _ if far == 7 => 1 + near % 2,
            sum if sum < core => 4,
            sum if sum == core => 1,
            sum if sum == star || far - near == 4 => 2,
            _ if near * near + far * far > 64 => 3,
            _ => {
                if sprinkles.rotate_right(near * 8 + far).trailing_zeros() > 1 {
                    3
                } else {
                    5
                }
            }
        };
        palette[colour as usize]
    })]
}

/// Returns the distance from the middle line of the tile, 0 to 7.
fn from_middle(position: u32) -> u32 {
    let position = position % TILE;
    if position < TILE / 2 { TILE / 2 - 1 - position } else { position - TILE / 2 }
}
