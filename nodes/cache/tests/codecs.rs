//! Rows are rounded as their codec stores them, with and without a cache.
use super::*;
use crate::kmeans::residual::CodebookFile;
use codec::Scale;
use compute::random::Key;

/// Returns all codecs; the codebooks are in the file `codebooks`, for layers 1 and 4.
fn all(codebooks: &Path) -> Vec<CodecOption> {
    let key = Key::new(1, &["codebooks"]);
    let file = CodebookFile::random(&[1, 4], 3, WIDTH, key);
    file.save(codebooks).unwrap();
    vec![
        CodecOption::F32,
        CodecOption::F16,
        CodecOption::Bf16,
        CodecOption::Int8(Scale::Frame),
        CodecOption::Int8(Scale::Channel),
        CodecOption::MultiCodebook {
            file: codebooks.to_string_lossy().into_owned(),
        },
    ]
}

#[test]
fn live_cold_and_full_are_the_same() {
    let folder = TestCache::new("codebook-file");
    let mut seen = vec![];
    for (number, codec) in all(&folder.root.join("books")).into_iter().enumerate() {
        let cache = TestCache::new(&format!("codec-{number}"));
        let config = fake(&[4, 1]);
        let run = |root: Option<&Path>| {
            let context = cache.context();
            let mut node = wrap(Arc::new(config.clone()), root, &codec, true, &context).unwrap();
            let batch = cache.run(&mut *node, &[5, 0, 2, 5], false);
            node.leave().unwrap();
            (batch, std::mem::take(&mut *config.record.lock().unwrap()))
        };
        let (live, _) = run(None);
        let (cold, filled) = run(Some(&cache.root));
        let (full, served_all) = run(Some(&cache.root));
        assert_eq!(filled, served([&[4, 1]], 4), "{codec:?}");
        assert_eq!(served_all, served([], 0), "{codec:?}");
        assert_eq!(cold, live, "{codec:?}");
        assert_eq!(full, live, "{codec:?}");
        assert!(!seen.contains(&live), "{codec:?} rounds as another");
        seen.push(live);
        assert_eq!(tools::verify(&cache.root).unwrap(), vec![]);
        let listing = tools::list(&cache.root).unwrap().remove(0);
        assert_eq!((listing.rows, listing.unreadable), (3, 0), "{codec:?}");
    }
}

#[test]
fn a_value_beyond_f16_names_its_row_and_another_codec() {
    let cache = TestCache::new("overflow");
    let context = cache.context();
    for root in [None, Some(&*cache.root)] {
        // Sample 320 · 7 of row 9 is below 9, so layer 20,000 is beyond 65504.
        let config = Arc::new(fake(&[20_000]));
        let mut node = wrap(config, root, &CodecOption::F16, true, &context).unwrap();
        let error = run_step(&mut *node, &context, &[9], false, "targets").unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("row `row 9`: the value "), "{error}");
        assert!(error.contains("take the codec \"bf16\""), "{error}");
    }
}

#[test]
fn a_codec_has_a_fingerprint_of_its_own_and_cannot_hit_another() {
    let cache = TestCache::new("other-codec");
    let config = fake(&[1]);
    let fill = |codec: CodecOption| {
        let root = Some(&*cache.root);
        let context = cache.context();
        let mut node = wrap(Arc::new(config.clone()), root, &codec, true, &context).unwrap();
        cache.run(&mut *node, &[3], true);
        std::mem::take(&mut *config.record.lock().unwrap()).rows
    };
    let int8 = || CodecOption::Int8(Scale::Frame);
    assert_eq!(
        [fill(CodecOption::F32), fill(int8()), fill(int8())],
        [1, 1, 0]
    );
    let context = cache.context();
    let f16 = CodecOption::F16;
    let compared = why::compare(&config, &cache.root, &f16, &context).unwrap();
    let nearest = compared[0].nearest.as_ref().unwrap();
    assert_eq!(nearest.differences.len(), 1);
    assert_eq!(nearest.differences[0].subject(), "another codec");
    assert_eq!(nearest.differences[0].wanted.as_deref(), Some("\"f16\""));
}

#[test]
fn codebooks_that_changed_are_another_codec_and_lost_ones_are_told() {
    let cache = TestCache::new("books");
    let books = cache.root.join("books");
    let codec = all(&books).pop().unwrap();
    let rows = || {
        let config = fake(&[1]);
        let context = cache.context();
        let root = Some(&*cache.root);
        let mut node = wrap(Arc::new(config.clone()), root, &codec, true, &context)?;
        cache.run(&mut *node, &[3], true);
        Ok::<_, crate::Error>(config.record.lock().unwrap().rows)
    };
    assert_eq!([rows().unwrap(), rows().unwrap()], [1, 0]);
    let other = CodebookFile::random(&[1], 2, WIDTH, Key::new(2, &["other"]));
    other.save(&books).unwrap();
    assert_eq!([rows().unwrap(), rows().unwrap()], [1, 0]);
    let kept = cache.files("codebooks.safetensors");
    assert_eq!(kept.len(), 2);
    fs::copy(&kept[0], &kept[1]).unwrap();
    let damages = tools::verify(&cache.root).unwrap();
    assert_eq!(damages.len(), 1);
    assert!(
        damages[0].says.contains("not the codebooks of its rows"),
        "{damages:?}"
    );
    fs::remove_file(&books).unwrap();
    let error = rows().unwrap_err().to_string();
    assert!(error.starts_with(books.to_str().unwrap()), "{error}");
    let wrong = CodebookFile::random(&[2], 2, WIDTH, Key::new(2, &["other"]));
    wrong.save(&books).unwrap();
    let error = rows().unwrap_err().to_string();
    assert!(error.contains("no codebooks of layer 1"), "{error}");
}
