//! Fire: heat rises from the lowest row, cools, and is blown about.

use fastrand::Rng;

use super::canvas::{Canvas, Colour, rgb};

const SIZE: usize = 48;
const FRAMES: usize = 16;
/// Time for the flames to reach their height before the first picture.
const WARM_UP: usize = 60;
/// From cold to hot.
const PALETTES: [[Colour; 10]; 4] = [
    [
        rgb(0x0F_0A14),
        rgb(0x2A_0F1E),
        rgb(0x57_1420),
        rgb(0x8C_1F1B),
        rgb(0xC2_3A12),
        rgb(0xE8_6212),
        rgb(0xF7_9324),
        rgb(0xFD_C24C),
        rgb(0xFE_E68A),
        rgb(0xFF_FBE6),
    ],
    [
        rgb(0x0A_0E1A),
        rgb(0x10_1C3A),
        rgb(0x14_3266),
        rgb(0x16_5296),
        rgb(0x1C_7CC4),
        rgb(0x32_A8E0),
        rgb(0x66_CDEE),
        rgb(0x9E_E6F4),
        rgb(0xD0_F5F7),
        rgb(0xFA_FFFF),
    ],
    [
        rgb(0x0A_120E),
        rgb(0x10_2618),
        rgb(0x15_4022),
        rgb(0x1E_6230),
        rgb(0x38_8A3A),
        rgb(0x66_B044),
        rgb(0x9C_CE52),
        rgb(0xCC_E36E),
        rgb(0xEA_F2A0),
        rgb(0xFC_FDE2),
    ],
    [
        rgb(0x12_0A1A),
        rgb(0x2A_1040),
        rgb(0x4A_1866),
        rgb(0x74_228C),
        rgb(0xA2_34A8),
        rgb(0xCC_52B6),
        rgb(0xE8_7EC2),
        rgb(0xF6_AACF),
        rgb(0xFC_D2E2),
        rgb(0xFF_F4FA),
    ],
];

type Heat = [[u8; SIZE]; SIZE];

pub(super) fn draw(rng: &mut Rng, variation: usize, _moving: bool) -> Vec<Canvas> {
    let palette = &PALETTES[variation];
    let mut heat: Heat = [[0; SIZE]; SIZE];
    // Hottest in the middle: a camp fire and not a wall of flame.
    for (x, cell) in heat[SIZE - 1].iter_mut().enumerate() {
        let from_middle = x.abs_diff(SIZE / 2);
        *cell = if from_middle < 17 { 60 - from_middle as u8 } else { 0 };
    }
    for _ in 0..WARM_UP {
        rise(&mut heat, rng);
    }
    (0..FRAMES)
        .map(|_| {
            rise(&mut heat, rng);
            picture(&heat, palette)
        })
        .collect()
}

fn rise(heat: &mut Heat, rng: &mut Rng) {
    for y in 0..SIZE - 1 {
        for x in 0..SIZE {
            let below = heat[y + 1][x];
            let drift = rng.usize(0..3);
            let target = (x + drift).saturating_sub(1).min(SIZE - 1);
            heat[y][target] = below.saturating_sub(rng.u8(0..4));
        }
    }
}

fn picture(heat: &Heat, palette: &[Colour; 10]) -> Canvas {
    let mut canvas = Canvas::new(SIZE as i32, SIZE as i32, palette[0]);
    for (y, row) in heat.iter().enumerate() {
        for (x, &cell) in row.iter().enumerate() {
            let step = (usize::from(cell) * palette.len() / 61).min(palette.len() - 1);
            canvas.set(x as i32, y as i32, palette[step]);
        }
    }
    canvas
}
