//! The names and words of the site, in its e-mails and in the page of an archive.

/// The names and words of the site. Plain text; the HTML templates escape them.
#[derive(Debug, Clone)]
pub struct Wording {
    /// `BRAND_NAME`, in subjects and sentences.
    pub brand: String,
    /// The last line of an e-mail.
    pub signature: String,
    /// `ARTWORK_WORDS`: one artwork, and several.
    pub artwork: [String; 2],
}

impl Wording {
    /// Returns the wording of a site, by default that of Makapix Club.
    #[must_use]
    pub fn new(brand: Option<&str>, artwork: Option<[&str; 2]>) -> Self {
        Self {
            brand: brand.unwrap_or("Makapix").to_owned(),
            signature: brand.unwrap_or("Makapix Club").to_owned(),
            artwork: artwork.unwrap_or(["artwork", "artworks"]).map(str::to_owned),
        }
    }

    /// Returns the word for several artworks.
    pub(crate) fn artworks(&self) -> &str {
        &self.artwork[1]
    }

    /// `1 artwork`, `24 artworks`.
    pub(crate) fn count(&self, count: usize) -> String {
        format!("{count} {}", self.artwork[usize::from(count != 1)])
    }
}

impl Default for Wording {
    fn default() -> Self {
        Self::new(None, None)
    }
}
