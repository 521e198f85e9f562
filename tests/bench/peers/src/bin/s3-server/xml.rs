//! The little XML there is to read and write.

use crate::store::PartName;

/// The parts that a `CompleteMultipartUpload` lists, if it lists any.
pub(crate) fn parts(document: &str) -> Option<Vec<PartName>> {
    let listed = document.split("<Part>").skip(1);
    let parts: Option<Vec<_>> = listed
        .map(|part| {
            let number = element(part, "PartNumber")?.parse().ok()?;
            let e_tag = element(part, "ETag")?.replace("&quot;", "\"");
            Some(PartName { number, e_tag: e_tag.trim_matches('"').to_owned() })
        })
        .collect();
    parts.filter(|parts| !parts.is_empty())
}

/// The text of the first element of that name. It has no attributes.
fn element<'a>(document: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

/// An answer with these elements, none of which needs escaping.
pub(crate) fn document(root: &str, elements: &[(&str, &str)]) -> String {
    let elements = elements.iter().map(|(name, text)| format!("<{name}>{text}</{name}>"));
    let elements: Vec<_> = elements.collect();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{}</{root}>", elements.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_as_the_sdk_writes_them() {
        let document = "<CompleteMultipartUpload xmlns=\"x\"><Part><ChecksumCRC32>a==</ChecksumCRC32>\
            <ETag>&quot;e1&quot;</ETag><PartNumber>1</PartNumber></Part>\
            <Part><ETag>\"e2\"</ETag><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>";
        let name = |number, e_tag: &str| PartName { number, e_tag: e_tag.into() };
        assert_eq!(parts(document).unwrap(), [name(1, "e1"), name(2, "e2")]);
        assert_eq!(parts("<Part><ETag>e</ETag></Part>"), None);
        assert_eq!(parts("<CompleteMultipartUpload></CompleteMultipartUpload>"), None);
    }
}
