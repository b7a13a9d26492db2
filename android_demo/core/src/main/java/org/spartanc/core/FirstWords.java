package org.spartanc.core;

import java.util.List;

/**
 * Whether it is known which word begins a text, which Metaspace's `first` asks for.
 *
 * <p>The library goes by where a word's first character stood in the text as it was given. After a part that may have taken
 * characters off its beginning, or made one of two, that is not followed here.
 */
final class FirstWords {
  private FirstWords() {}

  /** Refuses a tokenizer whose words depend on it where it is not known. */
  static void check(Object normalizer, Object splitter) throws InputException {
    if (isAskedFor(splitter) && !isKnownAfter(normalizer)) {
      throw new InputException("tokenizer.json: prepend_scheme `first` after this normalizer is not known");
    }
  }

  private static boolean isAskedFor(Object splitter) throws InputException {
    if (splitter == null) return false;
    Fields fields = Fields.of(splitter, "tokenizer.json, `pre_tokenizer`");
    if (!fields.text("type").equals("Sequence")) return fields.text("prepend_scheme", "").equals("first");
    List<Object> parts = fields.list("pretokenizers");
    for (int i = 1; i < parts.size(); i++) {
      if (!isAskedFor(parts.get(i))) continue;
      throw new InputException("tokenizer.json: prepend_scheme `first` after another pre-tokenizer is not known");
    }
    return !parts.isEmpty() && isAskedFor(parts.get(0));
  }

  private static boolean isKnownAfter(Object normalizer) throws InputException {
    if (normalizer == null) return true;
    Fields fields = Fields.of(normalizer, "tokenizer.json, `normalizer`");
    switch (fields.text("type")) {
      case "Sequence":
        for (Object each : fields.list("normalizers")) if (!isKnownAfter(each)) return false;
        return true;
      case "Replace": {
        String replaced = fields.object("pattern").text("String", "");
        return replaced.codePointCount(0, replaced.length()) == 1 && !fields.text("content").isEmpty();
      }
      case "Strip":
        return !fields.flag("strip_left", true);
      case "BertNormalizer":
      case "Nmt":
      case "StripAccents":
        return false;
      default:
        return true;
    }
  }
}
