//! Sun, hills, and a lake that mirrors them.

use fastrand::Rng;

use super::{
    canvas::{Canvas, Colour, rgb},
    noise::Noise,
};

const WIDTH: i32 = 128;
const HEIGHT: i32 = 96;
const SHORE: i32 = 66;

struct Mood {
    /// From the zenith to the horizon.
    sky: [Colour; 6],
    sun: Colour,
    /// From the farthest hill to the nearest.
    hills: [Colour; 4],
}

const MOODS: [Mood; 4] = [
    Mood {
        sky: [
            rgb(0x2B_2D5B),
            rgb(0x5A_3D7A),
            rgb(0xA3_4A7E),
            rgb(0xE0_6C75),
            rgb(0xF6_A56F),
            rgb(0xFF_DD95),
        ],
        sun: rgb(0xFF_F4C9),
        hills: [rgb(0x9C_4F77), rgb(0x6D_3B66), rgb(0x45_2B51), rgb(0x25_1B37)],
    },
    Mood {
        sky: [
            rgb(0x27_4C77),
            rgb(0x3E_6E9C),
            rgb(0x60_96BA),
            rgb(0x8F_BBD3),
            rgb(0xC4_DEE6),
            rgb(0xF1_F7EE),
        ],
        sun: rgb(0xFF_FFFF),
        hills: [rgb(0x7F_A6B8), rgb(0x55_8296), rgb(0x35_5F6E), rgb(0x1C_3B44)],
    },
    Mood {
        sky: [
            rgb(0x1F_4E5F),
            rgb(0x3B_7A78),
            rgb(0x79_A87F),
            rgb(0xC9_C27C),
            rgb(0xF3_C969),
            rgb(0xFF_E9A8),
        ],
        sun: rgb(0xFF_FBE0),
        hills: [rgb(0x8F_9E63), rgb(0x5E_7B53), rgb(0x38_5745), rgb(0x1E_3431)],
    },
    Mood {
        sky: [
            rgb(0x34_3A6B),
            rgb(0x5C_5C99),
            rgb(0x8C_83BE),
            rgb(0xC0_A9D6),
            rgb(0xEC_CFE0),
            rgb(0xFF_F0E6),
        ],
        sun: rgb(0xFF_E3B3),
        hills: [rgb(0xA0_92C0), rgb(0x76_6FA6), rgb(0x4E_4D83), rgb(0x2C_2F5A)],
    },
];

pub(super) fn draw(rng: &mut Rng, variation: usize, _moving: bool) -> Vec<Canvas> {
    let mood = &MOODS[variation];
    let mut canvas = Canvas::new(WIDTH, HEIGHT, mood.sky[0]);
    for y in 0..SHORE {
        for x in 0..WIDTH {
            canvas.dither(x, y, y as f32 / (SHORE - 12) as f32, &mood.sky);
        }
    }
    canvas.disc((rng.i32(30..98), rng.i32(20..32)), rng.i32(6..11), mood.sun);
    for (layer, &colour) in mood.hills.iter().enumerate() {
        hill(&mut canvas, rng, layer as i32, colour);
    }
    lake(&mut canvas, rng, mood);
    vec![canvas]
}

fn hill(canvas: &mut Canvas, rng: &mut Rng, layer: i32, colour: Colour) {
    let (wide, narrow) = (Noise::new(rng, 16), Noise::new(rng, 64));
    let base = 38 + layer * 8;
    for x in 0..WIDTH {
        let wide = wide.at(x as f32 / (26.0 - 3.0 * layer as f32));
        let narrow = narrow.at(x as f32 / 5.0);
        let top = base - (wide * 20.0 + narrow * 4.0) as i32 + 6;
        canvas.rectangle((x, top), (1, SHORE - top), colour);
        // The nearest ones carry firs.
        if layer >= 2 && x % 4 == 1 && narrow > 0.35 {
            canvas.rectangle((x, top - 3), (1, 3), colour);
            canvas.rectangle((x - 1, top - 1), (3, 1), colour);
        }
    }
}

/// The picture upside down, pushed about by small waves, under a few glints.
fn lake(canvas: &mut Canvas, rng: &mut Rng, mood: &Mood) {
    for y in SHORE..HEIGHT {
        let shift = [0, 1, 0, -1, -2, 0, 2, 1][(y % 8) as usize] * (y - SHORE) / 10;
        let mirrored = (2 * SHORE - y - 1 - (y - SHORE)).max(0);
        for x in 0..WIDTH {
            let source = canvas.get((x + shift).clamp(0, WIDTH - 1), mirrored);
            let water = mood.hills[3];
            let mixed: Colour = std::array::from_fn(|i| {
                ((u16::from(source[i]) * 3 + u16::from(water[i])) / 4) as u8
            });
            canvas.set(x, y, mixed);
        }
    }
    for _ in 0..26 {
        let (x, y) = (rng.i32(0..WIDTH), rng.i32(SHORE + 2..HEIGHT));
        canvas.rectangle((x, y), (rng.i32(2..7), 1), mood.sky[5]);
    }
}
