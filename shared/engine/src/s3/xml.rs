//! The few elements of S3's XML that are read.

use aws_smithy_xml::decode::{Document, try_data};

/// Returns the code of an error. Other documents, such as the pages of a proxy, have none.
pub(super) fn error_code(body: &[u8]) -> Option<String> {
    texts(body, None, ["Code"]).map(|[code]| code)?
}

/// Returns whether a body is an error, whatever the status of its response.
pub(super) fn is_error(body: &[u8]) -> bool {
    texts(body, Some("Error"), []).is_some()
}

/// Returns the ETag and the CRC32 in the result of a copy.
pub(super) fn copied_part(body: &[u8]) -> Option<(String, Option<String>)> {
    let [e_tag, crc32] = texts(body, Some("CopyPartResult"), ["ETag", "ChecksumCRC32"])?;
    Some((e_tag?, crc32))
}

/// Returns the texts of these children of the root, unless the document is not well-formed or its
/// root has another name than `root`.
fn texts<const N: usize>(
    body: &[u8],
    root: Option<&str>,
    names: [&str; N],
) -> Option<[Option<String>; N]> {
    let mut document = Document::try_from(body).ok()?;
    let mut element = document.root_element().ok()?;
    if root.is_some_and(|name| !element.start_el().matches(name)) {
        return None;
    }
    let mut texts = [const { None }; N];
    while let Some(mut child) = element.next_tag() {
        let name = child.start_el().local().to_owned();
        if let Some(at) = names.iter().position(|wanted| *wanted == name) {
            texts[at] = Some(try_data(&mut child).ok()?.into_owned());
        }
    }
    Some(texts)
}
