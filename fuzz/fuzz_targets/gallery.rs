#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| bdr_properties::gallery::check(input));
