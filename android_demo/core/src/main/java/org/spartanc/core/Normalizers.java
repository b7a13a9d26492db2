package org.spartanc.core;

import java.util.ArrayList;
import java.util.List;

/** Finds the reader of a normaliser by its type. */
final class Normalizers {
  private Normalizers() {}

  static Normalizer read(Object value) throws InputException {
    if (value == null) return text -> text;
    Fields fields = Fields.of(value, "tokenizer.json, `normalizer`");
    String type = fields.text("type");
    switch (type) {
      case "BertNormalizer":
        return new BertNormalizer(fields);
      case "Sequence":
        return chain(fields);
      case "Precompiled":
        return new CharacterMap(fields);
      case "Replace":
        return new Replacement(fields);
      case "Prepend": {
        String prefix = fields.text("prepend");
        return text -> text.isEmpty() ? text : prefix + text;
      }
      case "Strip":
        return new Strip(fields);
      case "Nmt":
        return Characters.nmt();
      case "StripAccents":
        return Characters.withoutAccents();
      case "Lowercase":
        return Unicode::lower;
      case "NFD":
        return Unicode::decompose;
      case "NFKD":
        return Unicode::decomposeCompatibly;
      case "NFC":
        return text -> Compositions.compose(Unicode.decompose(text));
      case "NFKC":
        return text -> Compositions.compose(Unicode.decomposeCompatibly(text));
      default:
        throw Parts.unknown("normalizer", type);
    }
  }

  private static Normalizer chain(Fields fields) throws InputException {
    List<Normalizer> normalizers = new ArrayList<>();
    for (Object each : fields.list("normalizers")) normalizers.add(read(each));
    return new NormalizerChain(normalizers);
  }
}
