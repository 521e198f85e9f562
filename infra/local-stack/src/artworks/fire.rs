//! Fire: heat rises from the lowest row, cools and drifts.

use fastrand::Rng;
use image::{GrayImage, Luma, RgbImage};

use super::Palette;

const WIDTH: u32 = 48;
const HEIGHT: u32 = 56;
const FRAMES: usize = 12;
/// Heat of the hottest pixel.
const HOT: u8 = 60;
/// Steps before the first frame, in which the flames reach their height.
const WARM_UP: usize = 60;

pub(super) fn draw(rng: &mut Rng, palette: &Palette, animated: bool) -> Vec<RgbImage> {
    let mut heat = GrayImage::new(WIDTH, HEIGHT);
    let embers = rng.u32(10..18);
    for x in WIDTH / 2 - embers..WIDTH / 2 + embers {
        heat.put_pixel(x, HEIGHT - 1, Luma([HOT]));
    }
    for _ in 0..WARM_UP {
        rise(&mut heat, rng);
    }
    let frames = if animated { FRAMES } else { 1 };
    let frames = (0..frames).map(|_| {
        rise(&mut heat, rng);
        RgbImage::from_fn(WIDTH, HEIGHT, |x, y| {
            let Luma([heat]) = *heat.get_pixel(x, y);
            palette[usize::from(heat) * (palette.len() - 1) / usize::from(HOT)]
        })
    });
    frames.collect()
}

/// Replaces every pixel by one below it, a little colder.
fn rise(heat: &mut GrayImage, rng: &mut Rng) {
    for y in 0..HEIGHT - 1 {
        for x in 0..WIDTH {
            let Luma([below]) = *heat.get_pixel(x, y + 1);
            let target = (x + rng.u32(0..3)).saturating_sub(1).min(WIDTH - 1);
            heat.put_pixel(target, y, Luma([below.saturating_sub(rng.u8(0..4))]));
        }
    }
}
