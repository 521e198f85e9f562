//! The properties of names hold for random rows.

use bdr_properties::{hostile, names};
use proptest::{prop_assert, proptest};

proptest! {
    #![proptest_config(hostile::config())]

    #[test]
    fn every_entry_is_one_safe_file_in_its_folder(
        handle in hostile::text(),
        rows in hostile::rows(),
    ) {
        let made = names::check_rows(&handle, &rows);
        prop_assert!(made.entries.len() <= rows.len() + 1);
    }
}
