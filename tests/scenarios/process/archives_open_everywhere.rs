//! Every common ZIP reader opens the ZIP without a warning, and shows the same times in every zone. The
//! tests skip a reader that is not installed, unless `CI` is set: CI installs all of them.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;

use futures_util::io::AllowStdIo;
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::datetime;
use zip_to_s3::zip::{Deflated, Packing, ZipWriter};

/// DOS time has steps of two seconds, so it cannot express this time.
const MODIFIED: OffsetDateTime = datetime!(2025-07-04 05:06:07 UTC);
const COMMENT: &str = "bdr 00000000-0000-0000-0000-000000000000: 3 artworks, 0 missing; \
                       https://makapix.club 2026-11-30";

/// A sparse file: large blocks that begin with a zero, all zeros in these tests, become holes.
#[derive(Debug)]
struct Sparse(File);

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() < 1 << 20 || bytes[0] != 0 {
            return self.0.write(bytes);
        }
        self.0.seek(SeekFrom::Current(i64::try_from(bytes.len()).unwrap()))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Writes a ZIP of these entries, and two documents and a comment after them.
fn write(path: &Path, entries: impl Iterator<Item = (String, Packing, &'static [u8])>) {
    const DOCUMENT: &[u8] = b"{\n  \"artwork_count\": 3\n}";
    const MISSING: &[u8] = "1 artwork is missing:\r\n\r\n\"Größe\" (a1)\r\n".as_bytes();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let sink = std::io::BufWriter::new(Sparse(File::create(path).unwrap()));
        let mut archive = ZipWriter::new(AllowStdIo::new(sink));
        for (name, packing, bytes) in entries {
            archive.add(&name, Some(MODIFIED), packing, bytes).await.unwrap();
        }
        let document = Deflated::new(|writer| writer.write_all(DOCUMENT)).unwrap();
        archive.add_deflated("metadata.json", MODIFIED, &document).await.unwrap();
        let missing = Deflated::new(|writer| writer.write_all(MISSING)).unwrap();
        archive.add_deflated("MISSING.txt", MODIFIED, &missing).await.unwrap();
        archive.set_comment(COMMENT.to_owned());
        let sink = archive.close().await.unwrap().into_inner();
        sink.into_inner().unwrap().0.sync_all().unwrap();
    });
}

/// Writes a ZIP of these entries, and has every reader test it.
fn check_in_every_reader(
    entries: impl Iterator<Item = (String, Packing, &'static [u8])>,
    count: usize,
) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.zip");
    write(&path, entries);
    open_in_every_reader(&path, count);
}

/// Has every reader test this ZIP of `count` entries.
pub(super) fn open_in_every_reader(path: &Path, count: usize) {
    let readers: [fn(&Path, usize) -> Option<String>; 5] =
        [info_zip, seven_zip, libarchive, python, java];
    let read: Vec<String> = std::thread::scope(|scope| {
        let running = readers.map(|reader| scope.spawn(move || reader(path, count)));
        let joined = running.map(|reader| reader.join().unwrap_or_else(|e| resume_unwind(e)));
        joined.into_iter().flatten().collect()
    });
    println!("opened by {}", read.join(", "));
    assert!(
        read.len() == readers.len() || std::env::var_os("CI").is_none(),
        "CI has only {read:?}"
    );
}

#[test]
fn every_reader_opens_an_ordinary_zip() {
    let entries = [
        ("artworks/stored.png", Packing::Store, &b"pixels"[..]),
        ("artworks/empty.png", Packing::Store, b""),
        ("artworks/bitmap.bmp", Packing::DeflateFast, &[7; 10_000]),
    ];
    check_in_every_reader(
        entries.map(|(name, packing, bytes)| (name.to_owned(), packing, bytes)).into_iter(),
        5,
    );
}

#[test]
fn every_reader_opens_more_entries_than_16_bits_count() {
    let entries = (0..66_000).map(|n| (format!("artworks/{n}.png"), Packing::Store, &b"x"[..]));
    check_in_every_reader(entries, 66_002);
}

#[test]
fn every_reader_opens_entries_beyond_4_gib() {
    static ZEROS: [u8; 64 << 20] = [0; 64 << 20];
    let large = (0..65).map(|n| (format!("artworks/{n}.png"), Packing::Store, &ZEROS[..]));
    check_in_every_reader(large, 67);
}

#[test]
fn extracted_files_have_the_same_time_in_every_zone() {
    let folder = TempDir::new().unwrap();
    let zip = folder.path().join("a.zip");
    let entries = [("a.png", Packing::Store), ("b.bmp", Packing::DeflateFast)];
    write(&zip, entries.map(|(name, packing)| (name.to_owned(), packing, &b"x"[..])).into_iter());
    // libarchive uses the local headers when it reads a pipe, and the central directory otherwise.
    let extractors: [&[&str]; 5] = [
        &["unzip", "-q", "../a.zip"],
        &["7z", "x", "../a.zip"],
        &["7zz", "x", "../a.zip"],
        &["bsdtar", "-xf", "../a.zip"],
        &["sh", "-c", "command -v bsdtar > /dev/null || exit 0; cat ../a.zip | bsdtar -xf -"],
    ];
    for zone in ["America/Los_Angeles", "Asia/Tokyo"] {
        for (number, extractor) in extractors.iter().enumerate() {
            let target = folder.path().join(format!("{}-{number}", zone.replace('/', "-")));
            std::fs::create_dir(&target).unwrap();
            let mut command = Command::new(extractor[0]);
            command.args(&extractor[1..]).env("TZ", zone).current_dir(&target);
            if run(&mut command).is_none() {
                continue;
            }
            for file in std::fs::read_dir(&target).unwrap().map(Result::unwrap) {
                let modified = file.metadata().unwrap().modified().unwrap();
                assert_eq!(OffsetDateTime::from(modified), MODIFIED, "{extractor:?} in {zone}");
            }
        }
        if let Some(times) = java_times(&zip, zone) {
            let expected = format!("{} ", MODIFIED.unix_timestamp()).repeat(8);
            assert_eq!(times, expected, "Java in {zone}");
        }
    }
    // Python reads the DOS time only, which has no zone.
    let program = "import sys, zipfile\n\
                   print({i.date_time for i in zipfile.ZipFile(sys.argv[1]).infolist()})";
    if let Some(times) = run(Command::new("python3").args(["-c", program]).arg(&zip)) {
        assert_eq!(times.trim(), "{(2025, 7, 4, 5, 6, 6)}");
    }
}

/// Returns the times that Java shows, in seconds: those of the local headers, then those of the central
/// directory.
fn java_times(path: &Path, zone: &str) -> Option<String> {
    let program = "import java.io.*; import java.util.zip.*;\n\
        class Times { public static void main(String[] a) throws Exception {\n\
            try (var z = new ZipInputStream(new FileInputStream(a[0]))) {\n\
                for (ZipEntry e; (e = z.getNextEntry()) != null; ) print(e); }\n\
            try (var z = new ZipFile(a[0])) { z.stream().forEach(Times::print); } }\n\
        static void print(ZipEntry e) { System.out.print(e.getTime() / 1000 + \" \"); } }";
    // Running a source file needs a JDK: a JRE alone cannot do it.
    Command::new("javac").arg("-version").output().ok()?;
    let source = path.with_file_name("Times.java");
    std::fs::write(&source, program).unwrap();
    run(Command::new("java").arg(&source).arg(path).env("TZ", zone))
}

/// Runs a reader, which must succeed without a warning or an error message. Returns its output, or
/// `None` if it is not installed.
pub(crate) fn run(command: &mut Command) -> Option<String> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{command:?}: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    assert_eq!(errors.trim(), "", "{command:?}");
    assert!(!text.to_lowercase().contains("warning"), "{command:?}: {text}");
    Some(text)
}

fn info_zip(path: &Path, _: usize) -> Option<String> {
    let text = run(Command::new("unzip").arg("-tq").arg(path))?;
    assert!(text.contains("No errors detected"), "{text}");
    Some("Info-ZIP".into())
}

fn seven_zip(path: &Path, count: usize) -> Option<String> {
    let text = ["7z", "7zz"].iter().find_map(|name| run(Command::new(name).arg("t").arg(path)))?;
    assert!(text.contains("Everything is Ok"), "{text}");
    assert!(text.contains(&format!("Files: {count}")), "{text}");
    Some("7-Zip".into())
}

/// Reads from a pipe, so that libarchive cannot read the central directory first.
fn libarchive(path: &Path, count: usize) -> Option<String> {
    Command::new("bsdtar").arg("--version").output().ok()?;
    // It lists the entries, and everything else that it reports, on standard error.
    let extract = "cat \"$0\" | bsdtar -xvOf - 2>&1 >/dev/null";
    let listing = run(Command::new("sh").arg("-c").arg(extract).arg(path))?;
    assert!(listing.lines().all(|line| line.starts_with("x ")), "{listing}");
    assert_eq!(listing.lines().count(), count);
    Some("libarchive".into())
}

fn python(path: &Path, count: usize) -> Option<String> {
    let program = "import sys, zipfile\n\
                   z = zipfile.ZipFile(sys.argv[1])\n\
                   assert z.testzip() is None\n\
                   assert all(i.external_attr >> 16 == 0o100644 for i in z.infolist())\n\
                   assert all(i.flag_bits == 0x800 for i in z.infolist())\n\
                   print(len(z.infolist()))";
    let text = run(Command::new("python3").args(["-c", program]).arg(path))?;
    assert_eq!(text.trim(), count.to_string());
    Some("Python".into())
}

/// Reads with `ZipInputStream`, which uses local headers only.
fn java(path: &Path, count: usize) -> Option<String> {
    let program = "import java.io.*; import java.util.zip.*;\n\
        class Read { public static void main(String[] a) throws Exception {\n\
            int n = 0; byte[] b = new byte[1 << 16];\n\
            try (var z = new ZipInputStream(new BufferedInputStream(new FileInputStream(a[0])))) {\n\
                while (z.getNextEntry() != null) { while (z.read(b) > 0); n++; } }\n\
            System.out.println(n); } }";
    // Running a source file needs a JDK: a JRE alone cannot do it.
    Command::new("javac").arg("-version").output().ok()?;
    let source = path.with_file_name("Read.java");
    std::fs::write(&source, program).unwrap();
    let text = run(Command::new("java").arg(&source).arg(path))?;
    assert_eq!(text.trim(), count.to_string());
    Some("Java".into())
}
