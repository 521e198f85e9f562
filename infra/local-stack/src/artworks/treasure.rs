//! Things to find, drawn by hand. When one moves, a glint runs over it.

use fastrand::Rng;

use super::canvas::{Canvas, Colour, rgb};

const SIZE: i32 = 16;
const SCALE: i32 = 3;
const FRAMES: i32 = 10;
const INK: Colour = rgb(0x1B_1425);
const WHITE: Colour = rgb(0xFF_FFFF);

/// `#` outline, `a` to `d` from light to dark, `e` and `f` the second colour, `w` a highlight.
const SPRITES: [[&str; 16]; 4] = [
    [
        "................",
        "......####......",
        ".....#effe#.....",
        ".....######.....",
        "......#wa#......",
        "......#wa#......",
        ".....##wa##.....",
        "....#ww..aa#....",
        "...#wccccccb#...",
        "..#wabbbbbbcd#..",
        "..#abwbbbbbcd#..",
        "..#abbbbwbbcd#..",
        "..#abbbbbbccd#..",
        "...#bbbbbccd#...",
        "....#ccccdd#....",
        ".....######.....",
    ],
    [
        "................",
        ".....######.....",
        "...##bbbbcc##...",
        "..#bbwwbbbccd#..",
        ".#bbwwwwbbwwcd#.",
        ".#bbwwwwbbwwcd#.",
        "#bbbbwwbbbbbccd#",
        "#bwbbbbbbwwbccd#",
        "#wwwbbbbwwwwbcd#",
        "#cwccccccwwccdd#",
        ".##############.",
        "...#eeeeeeff#...",
        "...#e#ee#eff#...",
        "...#e#ee#eff#...",
        "...#eeeeefff#...",
        "....########....",
    ],
    [
        "................",
        "................",
        "....########....",
        "...#awwaabbc#...",
        "..#awwaaabbcc#..",
        ".#awwaaaabbbcc#.",
        "#wwwaaaaabbbccd#",
        "################",
        "#aabbbbbbcccddd#",
        ".#aabbbbbccddd#.",
        "..#aabbbbccdd#..",
        "...#aabbbcdd#...",
        "....#aabbcd#....",
        ".....#abcd#.....",
        "......#bd#......",
        ".......##.......",
    ],
    [
        "................",
        "..####....####..",
        ".#aabb#..#bbcc#.",
        "#awwabb##bbbccd#",
        "#awwaabbbbbbccd#",
        "#aaaabbbbbbbccd#",
        "#aaabbbbbbbcccd#",
        "#aabbbbbbbbcccd#",
        ".#abbbbbbbcccd#.",
        "..#bbbbbbcccd#..",
        "...#bbbbcccd#...",
        "....#bbcccd#....",
        ".....#bccd#.....",
        "......#cd#......",
        ".......##.......",
        "................",
    ],
];
/// Ground twice, then a to f.
const PALETTES: [[Colour; 8]; 4] = [
    [
        rgb(0x3C_3A5C),
        rgb(0x4B_4A72),
        rgb(0xD8_FFE0),
        rgb(0x7C_E8A8),
        rgb(0x36_B38C),
        rgb(0x1F_7A72),
        rgb(0xD9_A66B),
        rgb(0x9C_6B3F),
    ],
    [
        rgb(0x38_5B4C),
        rgb(0x46_6F58),
        rgb(0xFF_B3A7),
        rgb(0xE8_4A4A),
        rgb(0xB8_2F45),
        rgb(0x82_2040),
        rgb(0xF6_E3C5),
        rgb(0xD0_B08C),
    ],
    [
        rgb(0x2A_2440),
        rgb(0x37_3056),
        rgb(0xB8_FFD0),
        rgb(0x4C_E0A0),
        rgb(0x1E_A982),
        rgb(0x12_6F6A),
        rgb(0xFF_E08A),
        rgb(0xC8_9A3C),
    ],
    [
        rgb(0x5B_2A4F),
        rgb(0x6E_3560),
        rgb(0xFF_B8C8),
        rgb(0xFF_5C86),
        rgb(0xD8_3470),
        rgb(0x9A_2460),
        rgb(0xFF_E0F0),
        rgb(0xD0_90B8),
    ],
];

pub(super) fn draw(rng: &mut Rng, variation: usize, moving: bool) -> Vec<Canvas> {
    let palette = &PALETTES[variation];
    let speckles: Vec<_> = (0..6).map(|_| (rng.i32(0..SIZE), rng.i32(0..SIZE))).collect();
    let frames = if moving { FRAMES } else { 1 };
    (0..frames)
        .map(|frame| {
            let mut canvas = Canvas::new(SIZE, SIZE, palette[0]);
            for y in 0..SIZE {
                for x in 0..SIZE {
                    canvas.set(x, y, palette[((x / 2 + y / 2) % 2) as usize]);
                }
            }
            for &(x, y) in &speckles {
                canvas.set(x, y, palette[1]);
            }
            // The glint needs a few frames to come and to go.
            let glint = moving.then_some(frame * 5 - 8);
            sprite(&mut canvas, &SPRITES[variation], palette, glint);
            canvas.enlarged(SCALE)
        })
        .collect()
}

fn sprite(canvas: &mut Canvas, rows: &[&str; 16], palette: &[Colour; 8], glint: Option<i32>) {
    for (y, row) in (0..).zip(rows) {
        for (x, sign) in (0..).zip(row.chars()) {
            let colour = match sign {
                '#' => INK,
                'w' => WHITE,
                'a'..='f' => {
                    let bright = glint.is_some_and(|place| (0..3).contains(&(x + y - place)));
                    if bright { WHITE } else { palette[2 + (sign as usize - 'a' as usize)] }
                }
                _ => continue,
            };
            canvas.set(x, y, colour);
        }
    }
}
