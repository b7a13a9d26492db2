package org.spartanc.core;

import java.util.ArrayList;
import java.util.List;

/**
 * From text to token ids, as the tokenizers library does it from the same tokenizer.json.
 *
 * <p>Known are the parts of BERT's family (WordPiece), of RoBERTa's (byte pairs) and of those that come from SentencePiece
 * (Unigram, and byte pairs with its marks); a file that asks for any other part is refused by name, for ids that are nearly right are wrong. Padding and truncation that the file asks for are its
 * author's batch settings and are left out.
 */
public final class Tokenizer {
  private final AddedTokens literal = new AddedTokens();
  private final AddedTokens normalized = new AddedTokens();
  private final Normalizer normalizer;
  private final Splitter splitter;
  private final WordModel model;
  private final Template template;

  private Tokenizer(Fields fields) throws InputException {
    normalizer = Normalizers.read(fields.raw("normalizer"));
    splitter = Parts.splitter(fields.raw("pre_tokenizer"));
    FirstWords.check(fields.raw("normalizer"), fields.raw("pre_tokenizer"));
    model = Parts.model(fields.object("model"));
    template = Template.read(fields.raw("post_processor"));
    if (fields.isNull("added_tokens")) return;
    for (Object each : fields.list("added_tokens")) {
      Fields token = Fields.of(each, "tokenizer.json, `added_tokens`");
      boolean isNormalized = token.flag("normalized", !token.flag("special", false));
      (isNormalized ? normalized : literal).add(token, normalizer, isNormalized);
    }
  }

  /** Reads the bytes of a tokenizer.json. */
  public static Tokenizer read(byte[] json) throws InputException {
    return new Tokenizer(Fields.of(Json.parse(json, "tokenizer.json", "vocab", Pieces::read), "tokenizer.json"));
  }

  /**
   * Encodes one text, or two ({@code second} may be null), to at most {@code maxLength} ids with special tokens; of two
   * texts the longer one is cut first.
   */
  public Encoding encode(String first, String second, int maxLength) throws InputException {
    boolean isPair = second != null;
    int room = maxLength - template.added(isPair);
    if (room < 1) throw new InputException("a maximal length of " + maxLength + " leaves no room for text");
    Ids a = tokens(first);
    Ids b = isPair ? tokens(second) : new Ids();
    boolean truncated = a.size() + b.size() > room;
    boolean empty = a.size() == 0 || (isPair && b.size() == 0);
    if (truncated) truncate(a, b, isPair, room);
    long[] ids = new long[a.size() + b.size() + template.added(isPair)];
    int at = 0;
    for (int piece : template.of(isPair)) {
      if (piece >= 0) {
        ids[at++] = piece;
        continue;
      }
      Ids text = piece == Template.FIRST ? a : b;
      for (int i = 0; i < text.size(); i++) ids[at++] = text.get(i);
    }
    return new Encoding(ids, truncated, empty);
  }

  /** Longest first, shared as the library shares it. */
  private static void truncate(Ids a, Ids b, boolean isPair, int room) {
    if (!isPair) {
      a.truncate(room);
      return;
    }
    boolean swapped = a.size() > b.size();
    int shorter = swapped ? b.size() : a.size();
    int longer = shorter > room ? shorter : Math.max(shorter, room - shorter);
    if (shorter + longer > room) {
      shorter = room / 2;
      longer = shorter + room % 2;
    }
    a.truncate(swapped ? longer : shorter);
    b.truncate(swapped ? shorter : longer);
  }

  private Ids tokens(String text) {
    Ids ids = new Ids();
    List<String> words = new ArrayList<>();
    boolean rawAtStart = true;
    for (AddedTokens.Part raw : literal.split(Unicode.wellFormed(text))) {
      boolean atStart = rawAtStart;
      rawAtStart = false;
      if (raw.id >= 0) {
        ids.add(raw.id);
        continue;
      }
      for (AddedTokens.Part part : normalized.split(normalizer.normalize(raw.text))) {
        if (part.id >= 0) {
          ids.add(part.id);
        } else {
          words.clear();
          splitter.split(part.text, atStart, words);
          for (String word : words) model.tokenize(word, ids);
        }
        atStart = false;
      }
    }
    return ids;
  }
}
