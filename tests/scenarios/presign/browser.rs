//! The artist's browser: the page of `cargo local` requests an archive and downloads it with fetch.

use bdr_tests::browser::Browser;
use bdr_tests::{Artwork, Scenario, scenario};
use local_stack::site::Site;
use serde_json::Value;
use uuid::Uuid;

/// Runs a scenario with a browser and the site of the scenario's artist. Without Chromium it prints that
/// nothing was checked; in CI it fails.
fn in_browser(test: impl AsyncFnOnce(&Scenario, &Browser, &Site)) {
    let Some(driver) = Browser::driver() else {
        assert!(std::env::var_os("CI").is_none(), ".ci/run installs Chromium");
        // Not `println!`: the test harness hides its output.
        let note = b"NOT CHECKED: downloads in a browser, because Debian's package chromium-driver is missing\n";
        std::io::Write::write_all(&mut std::io::stderr(), note).unwrap();
        return;
    };
    scenario(async |s| {
        let posts = [s.artwork(Artwork::default()).await, s.artwork(Artwork::default()).await];
        let site = Site::start(s.stack, 0, s.user_id, posts.to_vec()).await.unwrap();
        let browser = Browser::start(&s, &driver).await;
        test(&s, &browser, &site).await;
    });
}

/// Waits until the newest request has this status on the page; returns its id.
async fn wait_for(s: &Scenario, browser: &Browser, status: &str) -> Uuid {
    let script = format!(
        r#"return document.querySelector('li:first-child[data-status="{status}"]')?.dataset.id"#
    );
    let what = format!("the page showing {status}");
    let id = browser.find(&what, &script).await.as_str().unwrap().parse().unwrap();
    s.secrets.look_at_log_of(id);
    id
}

/// Waits until the page has a text at a selector; returns it.
async fn text(browser: &Browser, selector: &str) -> String {
    let script = format!("return document.querySelector('{selector}')?.textContent || null");
    let text = browser.find(&format!("text in {selector}"), &script).await;
    text.as_str().unwrap().to_owned()
}

/// Waits until the browser has saved the ZIP of a request; returns it.
async fn saved(s: &Scenario, browser: &Browser, bdr_id: Uuid) -> Vec<u8> {
    let name = format!("makapix-artworks-{}.zip", &bdr_id.to_string()[..8]);
    s.wait("the saved ZIP", async || Ok(browser.saved(&name))).await
}

#[test]
fn a_page_requests_an_archive_and_downloads_it_with_fetch() {
    in_browser(async |s, browser, site| {
        browser.open(site.url()).await;
        assert_eq!(text(browser, "#none").await, "There are no requests.");
        browser.click("form button").await;
        let bdr_id = wait_for(s, browser, "ready").await;
        browser.click("li button").await;
        let zip = bdr_tests::ZipFile { bytes: saved(s, browser, bdr_id).await };
        assert_eq!(zip.bytes, s.archive(bdr_id).await.unwrap().bytes);
        let names = zip.names();
        assert_eq!(names.len(), 7, "{names:?}");
        assert!(names.iter().any(|name| name == "comments.json"), "{names:?}");
        let bar = "const bar = document.querySelector('progress'); return [bar.value, bar.max]";
        assert_eq!(browser.run(bar).await, serde_json::json!([zip.bytes.len(), zip.bytes.len()]));
        assert_eq!(browser.console().await, "[]");
    });
}

/// Downloads an archive whose first request to the vault goes wrong in this way; the two requests have these
/// ranges.
fn download_in_spite_of(how: &str, ranges: [&str; 2]) {
    in_browser(async |s, browser, site| {
        browser.open(site.url()).await;
        browser.click("form button").await;
        let bdr_id = wait_for(s, browser, "ready").await;
        let script = format!(
            r#"const real = window.fetch;
            window.ranges = [];
            window.fetch = async (url, options) => {{
              if (!String(url).includes("X-Amz-Signature")) return real(url, options);
              window.ranges.push(options?.headers?.Range ?? "whole");
              if (window.ranges.length > 1) return real(url, options);
              {how}
            }};"#
        );
        browser.run(&script).await;
        browser.click("li button").await;
        assert_eq!(saved(s, browser, bdr_id).await, s.archive(bdr_id).await.unwrap().bytes);
        assert_eq!(browser.run("return window.ranges").await, Value::from(ranges.to_vec()));
    });
}

#[test]
fn an_expired_url_is_replaced() {
    // S3 responds 403 to an expired URL, as to this one with a wrong signature.
    download_in_spite_of("return real(url + '0', options);", ["whole", "whole"]);
}

#[test]
fn a_lost_connection_continues_with_the_next_byte() {
    let lost = "const bytes = new Uint8Array(await (await real(url, options)).arrayBuffer());
        const lose = (stream) => {
          stream.enqueue(bytes.slice(0, 100));
          setTimeout(() => stream.error(), 50);
        };
        return new Response(new ReadableStream({ start: lose }));";
    download_in_spite_of(lost, ["whole", "bytes=100-"]);
}

#[test]
fn a_page_of_another_origin_cannot_download() {
    in_browser(async |s, browser, site| {
        browser.open(&site.url().replace("127.0.0.1", "other-site.example")).await;
        browser.click("form button").await;
        wait_for(s, browser, "ready").await;
        browser.click("li button").await;
        assert_eq!(text(browser, "li p.problem").await, "Failed to fetch");
        let console = browser.console().await;
        assert!(console.contains("blocked by CORS policy"), "{console}");
    });
}

#[test]
fn the_page_shows_each_outcome_and_hostile_text_as_text() {
    in_browser(async |s, browser, site| {
        let hostile = "<img src=x onerror=document.title=1><script>document.title=2</script>";
        let bdr_id = s.request(&[1]).await;
        s.set(bdr_id, &format!("status = 'failed', error_message = '{hostile}'")).await;
        browser.open(site.url()).await;
        assert_eq!(wait_for(s, browser, "failed").await, bdr_id);
        assert_eq!(text(browser, "li p.problem").await, hostile);
        assert_eq!(text(browser, "title").await, "Downloads of noa_pixels");
        // The row changes while the page is open, and expires between its look and the click.
        let ready = "status = 'ready', error_message = NULL, file_path = ";
        let (key, over) = (s.archive_key(bdr_id), "expires_at = now() - interval '1 s'");
        s.set(bdr_id, &format!("{ready} '{key}', expires_at = NULL")).await;
        wait_for(s, browser, "ready").await;
        browser.run("window.fetch = ((real) => (url) => url === '/api/requests' ? new Promise(() => {}) : real(url))(fetch)").await;
        s.set(bdr_id, over).await;
        browser.click("li button").await;
        let expired = "The archive has expired. Please request it again.";
        s.wait("the explanation", async || {
            Ok((text(browser, "li p.problem").await == expired).then_some(()))
        })
        .await;
        browser.open(site.url()).await;
        wait_for(s, browser, "expired").await;
    });
}

#[test]
fn the_page_fits_a_narrow_screen() {
    in_browser(async |s, browser, site| {
        browser.open(site.url()).await;
        browser.click("form button").await;
        wait_for(s, browser, "ready").await;
        // A window has a minimum width; a frame has none.
        let frame = "window.frame = document.createElement('iframe'); window.frame.src = '/';
            window.frame.width = 320; document.body.append(window.frame)";
        browser.run(frame).await;
        let widths = "const page = window.frame.contentDocument;
            if (!page.querySelector('li[data-status=ready]')) return null;
            return [page.documentElement.scrollWidth, page.documentElement.clientWidth]";
        let widths = browser.find("the page in the frame", widths).await;
        let [all, visible] = [0, 1].map(|index| widths[index].as_u64());
        assert!(all <= visible && visible <= Some(320), "{widths}");
    });
}
