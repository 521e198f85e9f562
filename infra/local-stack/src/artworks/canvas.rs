//! A grid of pixels, and the few ways in which the motifs put colour on it.

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// The colour written as in `0xRRGGBB`.
pub(super) const fn rgb(hex: u32) -> Colour {
    let [_, red, green, blue] = hex.to_be_bytes();
    [red, green, blue]
}

/// Thresholds of ordered dithering after Bayer.
const BAYER: [[i32; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

#[derive(Debug, Clone)]
pub(super) struct Canvas {
    width: i32,
    height: i32,
    pixels: Vec<Colour>,
}

impl Canvas {
    pub(super) fn new(width: i32, height: i32, ground: Colour) -> Self {
        Self { width, height, pixels: vec![ground; (width * height) as usize] }
    }

    pub(super) fn width(&self) -> i32 {
        self.width
    }

    pub(super) fn height(&self) -> i32 {
        self.height
    }

    /// All pixels, row by row.
    pub(super) fn pixels(&self) -> &[Colour] {
        &self.pixels
    }

    pub(super) fn get(&self, x: i32, y: i32) -> Colour {
        self.pixels[(y * self.width + x) as usize]
    }

    /// Sets a pixel; one outside the picture is nobody's.
    pub(super) fn set(&mut self, x: i32, y: i32, colour: Colour) {
        if (0..self.width).contains(&x) && (0..self.height).contains(&y) {
            self.pixels[(y * self.width + x) as usize] = colour;
        }
    }

    pub(super) fn rectangle(&mut self, (x, y): (i32, i32), (w, h): (i32, i32), colour: Colour) {
        for dy in 0..h {
            for dx in 0..w {
                self.set(x + dx, y + dy, colour);
            }
        }
    }

    /// Sets a pixel to the colour at `position` of a ramp, 0 being its beginning and 1 its end. What
    /// lies between two colours is dithered.
    pub(super) fn dither(&mut self, x: i32, y: i32, position: f32, ramp: &[Colour]) {
        let last = ramp.len() as i32 - 1;
        let fine = (position.clamp(0.0, 1.0) * (last * 16) as f32) as i32;
        let threshold = BAYER[(y & 3) as usize][(x & 3) as usize];
        let step = fine / 16 + i32::from(fine % 16 > threshold);
        self.set(x, y, ramp[step.min(last) as usize]);
    }

    /// A filled circle.
    pub(super) fn disc(&mut self, (cx, cy): (i32, i32), radius: i32, colour: Colour) {
        for y in -radius..=radius {
            for x in -radius..=radius {
                // The half makes small circles round instead of pointed.
                if x * x + y * y <= radius * radius + radius / 2 {
                    self.set(cx + x, cy + y, colour);
                }
            }
        }
    }

    /// Every pixel becomes a square of `factor` pixels.
    pub(super) fn enlarged(&self, factor: i32) -> Self {
        let mut large = Self::new(self.width * factor, self.height * factor, [0; 3]);
        for y in 0..large.height {
            for x in 0..large.width {
                large.set(x, y, self.get(x / factor, y / factor));
            }
        }
        large
    }
}
