//! Smooth randomness, for hills and clouds.

use fastrand::Rng;

/// A closed line of random heights; it repeats after as many units as it has.
#[derive(Debug)]
pub(super) struct Noise(Vec<f32>);

impl Noise {
    pub(super) fn new(rng: &mut Rng, units: usize) -> Self {
        Self((0..units).map(|_| rng.f32()).collect())
    }

    /// The height at `x`, between 0 and 1.
    pub(super) fn at(&self, x: f32) -> f32 {
        let units = self.0.len();
        let x = x.rem_euclid(units as f32);
        let (left, part) = (x as usize % units, x.fract());
        let smooth = part * part * (3.0 - 2.0 * part);
        self.0[left] * (1.0 - smooth) + self.0[(left + 1) % units] * smooth
    }
}
