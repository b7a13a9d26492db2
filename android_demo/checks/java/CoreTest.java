import java.io.ByteArrayInputStream;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.MessageDigest;
import java.security.Signature;
import java.security.spec.ECGenParameterSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.spartanc.core.Bundle;
import org.spartanc.core.Catalog;
import org.spartanc.core.Classifier;
import org.spartanc.core.InputException;
import org.spartanc.core.Json;
import org.spartanc.core.Latency;
import org.spartanc.core.Prediction;
import org.spartanc.core.Program;
import org.spartanc.core.Signatures;
import org.spartanc.core.Source;
import org.spartanc.core.TaskTensor;
import org.spartanc.core.Tokenizer;

/** Checks of the core without Android: what is right, and that what is wrong ends in a message and in nothing else. */
public final class CoreTest {
  private static final String UNIGRAM = "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
      + "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}]},"
      + "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"▁\",\"prepend_scheme\":\"always\"},\"model\":"
      + "{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"▁\",-2.0],[\"a\",-1.5],[\"b\",-1.5],[\"ab\",-2.5],"
      + "[\"▁a\",-3e0],[\"😀\",-9]]}}";
  private static final String WORD_PIECE = "{\"added_tokens\":[{\"id\":4,\"content\":\"[MASK]\",\"special\":true,\"normalized\":false}],"
      + "\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
      + "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",3],\"cls\":[\"[CLS]\",2]},"
      + "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"[MASK]\":4,"
      + "\"good\":5,\"bad\":6,\"film\":7,\"##s\":8,\"!\":9}}}";
  private static int checks;

  private CoreTest() {}

  private interface Action {
    void run() throws Exception;
  }

  public static void main(String[] arguments) throws Exception {
    json();
    encoding();
    pieces();
    unknownTokenizers();
    wrongMaps();
    latency();
    goodBundle();
    alteredBundles();
    wrongPrograms();
    hostileTexts();
    numberOfTexts();
    severalLabels();
    vocabulary();
    shortInputs();
    signatures();
    tasks();
    catalog();
    leftovers();
    alteredTasks();
    mutations();
    System.out.println(checks + " passed, 0 failed");
  }

  private static void that(boolean holds, String claim) {
    checks++;
    if (!holds) throw new AssertionError(claim);
  }

  /** {@code action} must end in an InputException whose message holds {@code part}. */
  private static void refused(String part, Action action) throws Exception {
    try {
      action.run();
    } catch (InputException e) {
      that(e.getMessage().contains(part), "`" + e.getMessage() + "` does not say `" + part + "`");
      return;
    }
    throw new AssertionError("was not refused: " + part);
  }

  private static void json() throws Exception {
    Map<?, ?> object = (Map<?, ?>) Json.parse("{\"a\":[1,-2.5e1,true,null,\"\\u00e9\\n\"],\"b\":{}}", "it");
    that(object.get("a").equals(Arrays.asList(1L, -25.0, true, null, "é\n")), "values of every kind");
    for (String wrong : new String[] {
      "", "{", "[1,]", "{\"a\":1,}", "{\"a\":1,\"a\":2}", "01", "1.", "+1", "NaN", "'a'", "\"\t\"", "\"\\x\"", "\"\\u00g0\"",
      "[1] 2", "tru", "{1:2}", "\"a", "-", "1e", "\"\\", "\"\\u00"
    }) {
      refused("is not valid JSON", () -> Json.parse(wrong, "it"));
    }
    char[] deep = new char[100_000];
    Arrays.fill(deep, '[');
    refused("nested deeper", () -> Json.parse(new String(deep), "it"));
    refused("is not UTF-8", () -> Json.parse(new byte[] {'"', (byte) 0xC3, '"'}, "it"));
  }

  private static void encoding() throws Exception {
    Tokenizer tokenizer = tokenizer(WORD_PIECE);
    that(Arrays.equals(tokenizer.encode("Good films!", null, 8).ids, new long[] {2, 5, 7, 8, 9, 3}), "words and pieces");
    that(Arrays.equals(tokenizer.encode("", null, 8).ids, new long[] {2, 3}), "no text");
    that(Arrays.equals(tokenizer.encode("good[MASK]x", null, 8).ids, new long[] {2, 5, 4, 1, 3}), "special token in a text");
    that(Arrays.equals(tokenizer.encode("good", "bad film", 8).ids, new long[] {2, 5, 3, 6, 7, 3}), "two texts");
    that(tokenizer.encode("good good good", null, 4).truncated, "a long text is cut");
    that(tokenizer.encode("a\uD800b", null, 8).ids.length == 3, "half of a surrogate pair");
    refused("leaves no room", () -> tokenizer.encode("good", null, 2));
  }

  /** The best way of all is worked out by hand. */
  private static void pieces() throws Exception {
    Tokenizer tokenizer = tokenizer(UNIGRAM);
    that(Arrays.equals(tokenizer.encode("ab", null, 8).ids, new long[] {1, 4}), "-2 - 2.5 is more than -3 - 1.5");
    that(Arrays.equals(tokenizer.encode("a", null, 8).ids, new long[] {5}), "-3 is more than -2 - 1.5");
    that(Arrays.equals(tokenizer.encode("xyzb  xa😀", null, 9).ids, new long[] {1, 0, 3, 1, 0, 2, 6}), "unknown ones are one token");
    String lone = UNIGRAM.replace("[\"ab\",-2.5]", "[\"xy\",1]").replace("[\"b\",-1.5]", "[\"x\",%s]").replace("-9]", "0]");
    long[] unknown = tokenizer(String.format(lone, "15")).encode("xy", null, 8).ids;
    that(Arrays.equals(unknown, new long[] {1, 3, 0}), "15 and ten less than the least, -3, are more than 1");
    long[] known = tokenizer(String.format(lone, "13")).encode("xy", null, 8).ids;
    that(Arrays.equals(known, new long[] {1, 4}), "13 and ten less than the least are not");
    that(tokenizer.encode("", null, 8).empty && tokenizer.encode("", null, 8).ids.length == 0, "no text");
    Tokenizer bytes = tokenizer(everyByte("true"));
    that(Arrays.equals(bytes.encode("é", null, 9).ids, new long[] {1 + 0xC3, 1 + 0xA9}), "bytes of what is no piece");
    that(Arrays.equals(tokenizer(everyByte("false")).encode("é", null, 9).ids, new long[] {0}), "unless they are asked for");
  }

  /** A Unigram of bytes, and of those alone. */
  private static String everyByte(String fallback) {
    StringBuilder vocabulary = new StringBuilder("[[\"<unk>\",0]");
    for (int b = 0; b < 256; b++) vocabulary.append(String.format(",[\"<0x%02X>\",-1]", b));
    return "{\"model\":{\"byte_fallback\":" + fallback + ",\"unk_id\":0,\"vocab\":" + vocabulary.append("]}}");
  }

  /** Whatever the bytes of a normalisation map are, a text passes or the map is refused. */
  private static void wrongMaps() throws Exception {
    String map = "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"%s\"}";
    String replaced = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}";
    for (String wrong : new String[] {"", "AAAA", "BAAAAA==", "AAAAAAA=", "AQAAAA=="}) {
      refused("not a map of SentencePiece's", () -> tokenizer(UNIGRAM.replace(replaced, String.format(map, wrong))));
    }
    refused("is not base64", () -> tokenizer(UNIGRAM.replace(replaced, String.format(map, "a.b"))));
    refused("is not UTF-8", () -> tokenizer(UNIGRAM.replace(replaced, String.format(map, "BAAAAAAAAAD/"))));
    Random random = new Random(2211);
    int passed = 0;
    for (int round = 0; round < 2000; round++) {
      byte[] bytes = new byte[4 + 4 * (1 + random.nextInt(600)) + random.nextInt(9)];
      random.nextBytes(bytes);
      ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putInt(0, 4 * ((bytes.length - 4) / 4));
      for (int i = 4 * (bytes.length / 4); i < bytes.length; i++) bytes[i] &= 0x7F;
      String text = Base64.getEncoder().encodeToString(bytes);
      passed += tokenizer(UNIGRAM.replace(replaced, String.format(map, text))).encode("aé😀e\u0301 b", null, 64).ids.length;
    }
    that(passed > 2000, "texts pass maps of noise");
  }

  private static void unknownTokenizers() throws Exception {
    refused("model `WordLevel` is not known", () -> tokenizer(WORD_PIECE.replace("\"WordPiece\"", "\"WordLevel\"")));
    refused("normalizer `Other` is not known", () -> tokenizer(WORD_PIECE.replace("BertNormalizer", "Other")));
    refused("pre-tokenizer `Digits`", () -> tokenizer(WORD_PIECE.replace("BertPreTokenizer", "Digits")));
    refused("without `unk_id`", () -> tokenizer(UNIGRAM.replace("\"unk_id\":0", "\"unk_id\":null")));
    refused("is 7, not within 0 and 6", () -> tokenizer(UNIGRAM.replace("\"unk_id\":0", "\"unk_id\":7")));
    refused("is not a list of pieces", () -> tokenizer(WORD_PIECE.replace("\"WordPiece\"", "\"Unigram\"")));
    refused("is not an object", () -> tokenizer(UNIGRAM.replace("\"Unigram\"", "\"BPE\"")));
    for (String wrong : new String[] {"1", "[]", "[\"a\"]", "[\"a\",\"b\"]", "[1,2]", "[\"a\",1,2]", "[\"a\",1e999]"}) {
      refused("tokenizer.json, `vocab`: ", () -> tokenizer(UNIGRAM.replace("[\"a\",-1.5]", wrong)));
    }
    for (String wrong : new String[] {"[\"a\",-1.5}", "[\"a\",01]", "[\"a\",-]", "[\"a\" -1]", "[\"a\",-1.5],", "[,]"}) {
      refused("is not valid JSON", () -> tokenizer(UNIGRAM.replace("[\"a\",-1.5]", wrong)));
    }
    refused("expression `x+` is not known", () -> tokenizer(UNIGRAM.replace(" {2,}", "x+")));
    refused("`String` is empty", () -> tokenizer(UNIGRAM.replace("\"Regex\":\" {2,}\"", "\"String\":\"\"")));
    refused("prepend_scheme `last`", () -> tokenizer(UNIGRAM.replace("\"always\"", "\"last\"")));
    refused("`first` after this normalizer", () -> tokenizer(UNIGRAM.replace("\"always\"", "\"first\"")));
    refused("`first` after another pre-tokenizer", () -> tokenizer(UNIGRAM.replace("\"pre_tokenizer\":{\"type\":\"Metaspace\"",
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"},{\"type\":\"Metaspace\"")
        .replace("\"always\"}", "\"first\"}]}")));
    refused("is not one character", () -> tokenizer(UNIGRAM.replace("\"replacement\":\"▁\"", "\"replacement\":\"__\"")));
    refused("post-processor `X` is not known", () -> tokenizer(WORD_PIECE.replace("BertProcessing", "X")));
    refused("is not in the vocabulary", () -> tokenizer(WORD_PIECE.replace("\"unk_token\":\"[UNK]\"", "\"unk_token\":\"none\"")));
    refused("`vocab`", () -> tokenizer(WORD_PIECE.replace("\"vocab\"", "\"words\"")));
    refused("is not an object", () -> tokenizer("[]"));
    refused("is -1, not within", () -> tokenizer(WORD_PIECE.replace("\"good\":5", "\"good\":-1")));
  }

  private static void latency() {
    Latency latency = new Latency();
    that(latency.median() == 0 && latency.last() == 0, "no run yet");
    for (long time : new long[] {5_000_000, 1_000_000, 9_000_000}) latency.add(time);
    that(latency.median() == 5 && latency.last() == 9 && latency.count() == 3, "median of an odd number");
    latency.add(7_000_000);
    that(latency.median() == 6, "median of an even number");
    for (int i = 0; i < 10_000; i++) latency.add(2_000_000);
    that(latency.median() == 2, "median of very many");
  }

  /** A bundle in memory; {@link #seal} makes manifest and digest fit the files. */
  private static final class Memory implements Source {
    final Map<String, byte[]> files = new TreeMap<>();
    String manifest = "{\"format\":\"spartanc-bundle\",\"format_version\":1,\"target\":\"android-arm64\",\"program\":\"model.pte\","
        + "\"problem\":\"classification\",\"labels\":[\"bad\",\"good\"],\"max_length\":16,\"quantization\":\"none\","
        + "\"lowering\":\"portable\",\"inputs\":[{\"name\":\"input_ids\",\"dtype\":\"int64\",\"shape\":[1,\"L\"]},"
        + "{\"name\":\"attention_mask\",\"dtype\":\"int64\",\"shape\":[1,\"L\"]}],\"something_new\":{\"x\":[1]},"
        + "\"probe\":{\"input_ids\":[[2,5,3]],\"attention_mask\":[[1,1,1]],\"logits\":[[-5.0,5.0]],\"tolerance\":0.0001},";

    Memory() throws Exception {
      files.put("model.pte", "a program".getBytes(StandardCharsets.US_ASCII));
      files.put("tokenizer.json", WORD_PIECE.getBytes(StandardCharsets.UTF_8));
      seal();
    }

    String digestOf(String name) throws Exception {
      return sha(files.get(name));
    }

    Memory seal() throws Exception {
      StringBuilder entries = new StringBuilder();
      for (Map.Entry<String, byte[]> file : files.entrySet()) {
        if (file.getKey().startsWith("manifest.")) continue;
        if (entries.length() > 0) entries.append(',');
        entries.append(String.format(Locale.ROOT, "\"%s\":{\"sha256\":\"%s\",\"bytes\":%d}", file.getKey(), sha(file.getValue()),
            file.getValue().length));
      }
      return sealWith(manifest + "\"files\":{" + entries + "}}");
    }

    Memory sealWith(String text) throws Exception {
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      files.put("manifest.json", bytes);
      files.put("manifest.sha256", (sha(bytes) + "  manifest.json\n").getBytes(StandardCharsets.US_ASCII));
      return this;
    }

    String text(String name) {
      return new String(files.get(name), StandardCharsets.UTF_8);
    }

    @Override
    public List<String> names() {
      return new ArrayList<>(files.keySet());
    }

    @Override
    public InputStream open(String name) throws FileNotFoundException {
      if (!files.containsKey(name)) throw new FileNotFoundException(name);
      return new ByteArrayInputStream(files.get(name));
    }

    @Override
    public Source below(String folder) {
      throw new AssertionError("a bundle is read whole");
    }
  }

  /** Bundles in memory, each in a folder of its name. */
  private static final class Shelf implements Source {
    final Map<String, Memory> bundles = new TreeMap<>();

    @Override
    public List<String> names() {
      List<String> names = new ArrayList<>(Collections.singletonList("README"));
      for (Map.Entry<String, Memory> each : bundles.entrySet()) {
        for (String name : each.getValue().names()) names.add(each.getKey() + "/" + name);
      }
      return names;
    }

    @Override
    public InputStream open(String name) throws FileNotFoundException {
      throw new FileNotFoundException(name);
    }

    @Override
    public Source below(String folder) {
      return bundles.containsKey(folder) ? bundles.get(folder) : new Shelf();
    }
  }

  /** Takes the id of the first word for the logit, so that 5 ("good") is good. */
  private static class Echo implements Program {
    boolean closed;

    @Override
    public float[] run(long[] ids, long[] mask, List<TaskTensor> tensors) {
      float score = ids[1] == 5 ? 5 : -5;
      return new float[] {-score, score};
    }

    @Override
    public void close() {
      closed = true;
    }
  }

  private static Classifier open(Source source) throws InputException {
    Bundle bundle = Bundle.open(source, null);
    return new Classifier(bundle, new Echo(), bundle.task(null, null));
  }

  private static void goodBundle() throws Exception {
    Bundle bundle = Bundle.open(new Memory(), null);
    try (Classifier classifier = new Classifier(bundle, new Echo(), bundle.task(null, null))) {
      Prediction good = classifier.classify("good film", null);
      that(good.scores.get(0).label.equals("good") && good.scores.get(0).probability > 0.99, "the likeliest label first");
      that(Math.abs(good.scores.get(0).probability + good.scores.get(1).probability - 1) < 1e-12, "scores add up to 1");
      that(classifier.classify("bad film", null).scores.get(0).label.equals("bad"), "another text, another label");
    }
    File folder = Files.createTempDirectory("core").toFile();
    File program = bundle.program(folder);
    that(Arrays.equals(Files.readAllBytes(program.toPath()), "a program".getBytes(StandardCharsets.US_ASCII)), "the program is copied");
    Files.write(program.toPath(), new byte[] {1, 2, 3});
    that(bundle.program(folder).length() == 9, "a copy that was altered is copied again");
    that(folder.list().length == 1, "nothing half written is left");
  }

  private static void alteredBundles() throws Exception {
    for (String name : new String[] {"model.pte", "tokenizer.json", "manifest.json", "manifest.sha256"}) {
      Memory missing = new Memory();
      missing.files.remove(name);
      refused("`" + name + "` is missing", () -> Bundle.open(missing, null));
      Memory altered = new Memory();
      altered.files.get(name)[0] ^= 1;
      refused("digest", () -> Bundle.open(altered, null));
      Memory shorter = new Memory();
      shorter.files.put(name, Arrays.copyOf(shorter.files.get(name), shorter.files.get(name).length - 1));
      refused("`" + (name.equals("manifest.sha256") ? "manifest.json" : name) + "`", () -> Bundle.open(shorter, null));
    }
    Memory extra = new Memory();
    extra.files.put("other.bin", new byte[1]);
    refused("`other.bin` is not listed in", () -> Bundle.open(extra, null));
    for (String path : new String[] {"../x", "/x", "a/../../x", "a//x", "./x", "a\\\\x", "", "manifest.json"}) {
      Memory outside = new Memory();
      outside.sealWith(outside.text("manifest.json").replace("\"model.pte\":{", "\"" + path + "\":{"));
      refused("no file of a bundle", () -> Bundle.open(outside, null));
    }
    String[][] changes = {
      {"\"format_version\":1", "\"format_version\":2", "format_version `2`, and no `min_length`"},
      {"\"format_version\":1", "\"format_version\":3", "format_version `3`"},
      {"\"max_length\":16", "\"max_length\":16,\"min_length\":3", "format_version `1`, and a `min_length`"},
      {"spartanc-bundle", "another", "is not of format"},
      {"\"labels\":[\"bad\",\"good\"]", "\"labels\":[]", "has 0 `labels` for classification"},
      {"\"labels\":[\"bad\",\"good\"]", "\"labels\":[\"bad\",\"good\",\"x\"]", "has 2 logits for 3 classes"},
      {"\"max_length\":16", "\"max_length\":0", "not within"},
      {"\"max_length\":16", "\"max_length\":1e3", "is not a whole number"},
      {",\"shape\":[1,\"L\"]}],", ",\"shape\":[1,\"L\"]},{}],", "takes 3 `inputs`"},
      {"\"probe\":{", "\"sonde\":{", "`probe`"},
      {"\"program\":\"model.pte\"", "\"program\":\"other.pte\"", "does not list its `program`"},
      {"\"attention_mask\":[[1,1,1]]", "\"attention_mask\":[[1,1]]", "not of one length"},
      {"\"input_ids\":[[2,5,3]]", "\"input_ids\":[2,5,3]", "is not one row"},
    };
    for (String[] change : changes) {
      Memory changed = new Memory();
      String text = changed.text("manifest.json");
      that(text.contains(change[0]), change[0]);
      changed.sealWith(text.replace(change[0], change[1]));
      refused(change[2], () -> Bundle.open(changed, null));
    }
  }

  private static void wrongPrograms() throws Exception {
    Bundle bundle = Bundle.open(new Memory(), null);
    float[][] answers = {{-5, 5.001f}, {5, -5}, {-5}, {-5, Float.NaN}, {}};
    for (float[] answer : answers) {
      Echo wrong = new Echo() {
        @Override
        public float[] run(long[] ids, long[] mask, List<TaskTensor> tensors) {
          return answer;
        }
      };
      refused("the program g", () -> new Classifier(bundle, wrong, bundle.task(null, null)));
      that(wrong.closed, "a program that was refused is closed");
    }
  }

  private static void hostileTexts() throws Exception {
    try (Classifier classifier = open(new Memory())) {
      for (String blank : new String[] {"", " ", "\n\t\u3000"}) refused("no text to classify", () -> classifier.classify(blank, null));
      refused("nothing of it became a token", () -> classifier.classify("\u200b\u200e\u2060", null));
      String[] units = {"a", "good ", "é", "\u0301", "[MASK]", "\uD83D\uDE00", "\uDC00", "漢", "!", "\u0000"};
      for (String unit : units) {
        StringBuilder text = new StringBuilder("good ");
        while (text.length() < 100_000) text.append(unit);
        long start = System.nanoTime();
        that(classifier.classify(text.toString(), null).scores.size() == 2, "100,000 characters");
        that(System.nanoTime() - start < 5_000_000_000L, "100,000 characters in less than 5 s");
      }
    }
  }

  private static Memory changed(String part, String other) throws Exception {
    Memory changed = new Memory();
    that(changed.text("manifest.json").contains(part), part);
    return changed.sealWith(changed.text("manifest.json").replace(part, other));
  }

  /** A task of two texts is asked two, one of one text one; bundles that do not say take both. */
  private static void numberOfTexts() throws Exception {
    try (Classifier one = open(changed("\"max_length\":16", "\"pairs\":false,\"max_length\":16"))) {
      refused("the task takes one", () -> one.classify("good", "film"));
      refused("no text to classify", () -> one.classify(null, null));
      double probability = one.classify("good", null).scores.get(0).probability;
      for (String blank : new String[] {"", " "}) {
        that(one.classify("good", blank).scores.get(0).probability == probability, "a blank second text is none");
      }
    }
    try (Classifier two = open(changed("\"max_length\":16", "\"pairs\":true,\"max_length\":16"))) {
      that(two.classify("good", "film").scores.size() == 2, "two texts");
      for (String blank : new String[] {null, "", " "}) refused("the task takes two", () -> two.classify("good", blank));
    }
    for (String open : new String[] {"null", "\"max_length\":16"}) {
      String field = open.equals("null") ? "\"pairs\":null,\"max_length\":16" : open;
      try (Classifier either = open(changed("\"max_length\":16", field))) {
        that(either.classify("good", "film").scores.size() + either.classify("good", null).scores.size() == 4, "one or two");
      }
    }
    refused("is not true or false", () -> Bundle.open(changed("\"max_length\":16", "\"pairs\":2,\"max_length\":16"), null));
  }

  private static final String ONE_LABEL_EACH = "\"problem\":\"classification\",\"labels\":[\"bad\",\"good\"]";
  private static final String SEVERAL_LABELS = "\"problem\":\"multilabel\",\"labels\":[\"bad\",\"good\"],\"thresholds\":[";

  private static Memory severalWith(String thresholds) throws Exception {
    return changed(ONE_LABEL_EACH, SEVERAL_LABELS + thresholds + "]");
  }

  /** The probe's word gives the logits -5 and 5, any other word 5 and -5: probabilities of 0.0067 and 0.9933. */
  private static void severalLabels() throws Exception {
    String[][] cases = {
      {"0.5,0.5", "good", "bad"}, {"0.5,0.001", "good", "bad,good"}, {"0.001,0.001", "bad,good", "bad,good"},
      {"0.999,0.999", "", ""}, {"0.999,0.99", "good", ""},
    };
    for (String[] each : cases) {
      try (Classifier several = open(severalWith(each[0]))) {
        Prediction good = several.classify("good", null);
        that(String.join(",", good.labels).equals(each[1]), each[0] + ": labels above their thresholds");
        that(String.join(",", several.classify("bad", null).labels).equals(each[2]), each[0] + ": of another text");
        that(good.scores.get(0).label.equals("good") && good.scores.size() == 2, "all scores, the likeliest first");
        that(Math.abs(good.scores.get(0).probability - 1 / (1 + Math.exp(-5))) < 1e-12, "each label by itself");
        that(Double.isNaN(good.value), "no number");
      }
    }
    try (Classifier one = open(new Memory())) {
      that(one.classify("good", null).labels == null, "a classification gives no list of labels");
    }
    for (String wrong : new String[] {"0.5", "", "0,0.5", "0.5,1", "0.5,\"a\"", "0.5,0.5,0.5", "0.5,null"}) {
      refused("`thresholds`", () -> Bundle.open(severalWith(wrong), null));
    }
    refused("`thresholds`", () -> Bundle.open(changed("\"max_length\":16", "\"thresholds\":[0.5,0.5],\"max_length\":16"), null));
    refused("`ranking`, which is unknown", () -> Bundle.open(changed("\"classification\"", "\"ranking\""), null));
    File folder = Files.createTempDirectory("core").toFile();
    String pairs = "[[\"a\",0.9],[\"b\",0.9],[\"c\",0.5]]";
    String one = "\\\"problem\\\":\\\"classification\\\"";
    byte[] task = taskFile(pairs, HEAD, LAYOUT, one, one.replace("classification", "multilabel"));
    Bundle fleet = Bundle.open(fleet(task, taskFile(LABELS, HEAD, LAYOUT, "", "")), null);
    try (Classifier classifier = new Classifier(fleet, new Shared(), fleet.task("first", folder))) {
      that(classifier.classify("film", null).labels.equals(Arrays.asList("b", "c")), "thresholds of a task's file");
      classifier.use(fleet.task("second", folder));
      that(classifier.classify("film", null).labels == null, "and of the next task none");
    }
    byte[] plain = taskFile(LABELS, HEAD, LAYOUT, one, one.replace("classification", "multilabel"));
    Bundle without = Bundle.open(fleet(plain, plain), null);
    refused("`labels`", () -> without.task("first", folder));
  }

  /** What is shorter than the program takes is padded, the probe too; what is not stays as it is. */
  private static void shortInputs() throws Exception {
    Memory padded = changed("\"format_version\":1", "\"format_version\":2,\"min_length\":4");
    List<long[]> rows = new ArrayList<>();
    Program program = new Echo() {
      @Override
      public float[] run(long[] ids, long[] mask, List<TaskTensor> tensors) {
        rows.add(ids);
        rows.add(mask);
        return super.run(ids, mask, tensors);
      }
    };
    Bundle bundle = Bundle.open(padded, null);
    that(bundle.manifest.minLength == 4 && Bundle.open(new Memory(), null).manifest.minLength == 1, "the shortest input");
    try (Classifier classifier = new Classifier(bundle, program, bundle.task(null, null))) {
      that(classifier.classify("good", null).scores.get(0).label.equals("good"), "the answer to a short text");
      classifier.classify("good good good", null);
    }
    long[][] expected = {{2, 5, 3, 0}, {1, 1, 1, 0}, {2, 5, 3, 0}, {1, 1, 1, 0}, {2, 5, 5, 5, 3}, {1, 1, 1, 1, 1}};
    that(Arrays.deepEquals(rows.toArray(new long[0][]), expected), "ids and masks that the program got");
  }

  private static void vocabulary() throws Exception {
    try (Classifier nine = open(changed("\"max_length\":16", "\"vocabulary_size\":9,\"max_length\":16"))) {
      that(nine.classify("good films", null).scores.size() == 2, "ids up to 8");
      refused("id 9 at position 3 is outside of the vocabulary of 9 tokens", () -> nine.classify("good!", null));
    }
    Memory small = changed("\"max_length\":16", "\"vocabulary_size\":5,\"max_length\":16");
    refused("id 5 at position 2 is outside of the vocabulary of 5", () -> open(small));
    Memory none = changed("\"max_length\":16", "\"vocabulary_size\":0,\"max_length\":16");
    refused("not within", () -> Bundle.open(none, null));
  }

  private static final String BACKBONE = sameDigits("ab");
  private static final String OTHER_BACKBONE = sameDigits("cd");

  private static String sameDigits(String two) {
    return String.join("", Collections.nCopies(32, two));
  }

  /** A task's file: an I64 layout of its memory, and one value for every class. */
  private static byte[] taskFile(String labels, float[] head, long[] layout, String change, String to) throws Exception {
    int classes = head.length;
    String description = "{\\\"name\\\":\\\"t\\\",\\\"backbone\\\":\\\"" + BACKBONE + "\\\",\\\"quantization\\\":\\\"none\\\","
        + "\\\"problem\\\":\\\"classification\\\",\\\"labels\\\":" + labels.replace("\"", "\\\"")
        + ",\\\"memory\\\":{\\\"parents\\\":4,\\\"cells\\\":8,\\\"top_k\\\":2,\\\"temperature\\\":1.6,\\\"layer_norm\\\":\\\"none\\\"},"
        + "\\\"probe\\\":{\\\"input_ids\\\":[[2,5,3]],\\\"attention_mask\\\":[[1,1,1]],\\\"logits\\\":["
        + Arrays.toString(head) + "],\\\"tolerance\\\":0.001}}";
    char[] zeros = new char[64];
    Arrays.fill(zeros, '0');
    StringBuilder header = new StringBuilder("{\"__metadata__\":{\"digest\":\"" + new String(zeros)
        + "\",\"format\":\"spartanc-task\",\"format_version\":\"1\",\"task\":\"" + description + "\"},"
        + "\"m.layout\":{\"dtype\":\"I64\",\"shape\":[3],\"data_offsets\":[0,24]},"
        + "\"head\":{\"dtype\":\"F32\",\"shape\":[" + classes + "],\"data_offsets\":[24," + (24 + 4 * classes) + "]}}");
    String changed = header.toString().replace(change, to);
    that(change.isEmpty() || !changed.contentEquals(header), change);
    header = new StringBuilder(changed);
    while ((8 + header.length()) % 64 != 0) header.append(' ');
    ByteBuffer file = ByteBuffer.allocate(8 + header.length() + 24 + 4 * classes).order(ByteOrder.LITTLE_ENDIAN);
    file.putLong(header.length()).put(header.toString().getBytes(StandardCharsets.UTF_8));
    for (long each : layout) file.putLong(each);
    for (float each : head) file.putFloat(each);
    byte[] bytes = file.array();
    int at = 8 + "{\"__metadata__\":{\"digest\":\"".length();
    System.arraycopy(sha(bytes).getBytes(StandardCharsets.US_ASCII), 0, bytes, at, 64);
    return bytes;
  }

  private static Memory fleet(byte[] first, byte[] second) throws Exception {
    Memory fleet = new Memory();
    fleet.manifest = fleet.manifest.replace("\"problem\":\"classification\",\"labels\":[\"bad\",\"good\"]",
        "\"problem\":\"fleet\",\"labels\":[],\"fleet\":{\"backbone\":{\"digest\":\"" + BACKBONE + "\"},\"quantization\":\"none\","
            + "\"bounds\":{\"parents\":[1,16],\"cells\":[1,48],\"classes\":[1,4]},\"inputs\":["
            + "{\"name\":\"m.layout\",\"dtype\":\"I64\",\"shape\":[3]},{\"name\":\"head\",\"dtype\":\"F32\",\"shape\":[\"classes\"]}],"
            + "\"tasks\":{\"first\":{\"file\":\"tasks/first.safetensors\"},\"second\":{\"file\":\"tasks/second.safetensors\"}}}");
    fleet.files.put("tasks/first.safetensors", first);
    fleet.files.put("tasks/second.safetensors", second);
    return fleet.seal();
  }

  /** Gives the task's own values back as its logits. */
  private static final class Shared extends Echo {
    @Override
    public float[] run(long[] ids, long[] mask, List<TaskTensor> tensors) {
      FloatBuffer head = tensors.get(1).data.asFloatBuffer();
      float[] result = new float[head.remaining()];
      head.get(result);
      return result;
    }
  }

  private static final long[] LAYOUT = {4, 8, 2};
  private static final float[] HEAD = {1, 3, 2};
  private static final String LABELS = "[\"a\",\"b\",\"c\"]";

  private static void tasks() throws Exception {
    File folder = Files.createTempDirectory("core").toFile();
    byte[] other = taskFile("[\"yes\",\"no\"]", new float[] {4, 1}, LAYOUT, "", "");
    Bundle bundle = Bundle.open(fleet(taskFile(LABELS, HEAD, LAYOUT, "", ""), other), null);
    that(bundle.tasks().equals(Arrays.asList("first", "second")), "tasks in their order");
    try (Classifier classifier = new Classifier(bundle, new Shared(), bundle.task("first", folder))) {
      that(classifier.classify("film", null).scores.get(0).label.equals("b"), "the first task");
      classifier.use(bundle.task("second", folder));
      that(classifier.classify("film", null).scores.get(0).label.equals("yes"), "the second task");
      that(classifier.classify("film", null).scores.size() == 2, "labels of the second task");
    }
    Memory torn = fleet(taskFile(LABELS, HEAD, LAYOUT, "", ""), other);
    torn.files.put("tasks/second.safetensors", new byte[0]);
    File fresh = Files.createTempDirectory("core").toFile();
    Bundle damaged = Bundle.open(torn, null);
    new Classifier(damaged, new Shared(), damaged.task("first", fresh)).close();
    refused("tasks/second.safetensors", () -> damaged.task("second", fresh));
    torn.files.remove("tasks/second.safetensors");
    Bundle without = Bundle.open(torn, null);
    new Classifier(without, new Shared(), without.task("first", fresh)).close();
    refused("tasks/second.safetensors", () -> without.task("second", fresh));
    torn.files.put("model.pte", new byte[0]);
    refused("model.pte", () -> Bundle.open(torn, null));
    refused("has no task `third`", () -> bundle.task("third", folder));
    refused("for its probe", () -> new Classifier(bundle, new Echo(), bundle.task("second", folder)));
  }

  private static void catalog() throws Exception {
    byte[] first = taskFile(LABELS, HEAD, LAYOUT, "", "");
    byte[] broken = first.clone();
    broken[broken.length - 1] ^= 1;
    Shelf shelf = new Shelf();
    shelf.bundles.put("one", fleet(first, taskFile("[\"yes\",\"no\"]", new float[] {4, 1}, LAYOUT, "", "")));
    shelf.bundles.put("two", fleet(first, broken));
    shelf.bundles.put("alone", new Memory());
    List<Echo> programs = new ArrayList<>();
    Catalog.Loader loader = file -> {
      programs.add(file.length() == "alone".length() ? new Echo() : new Shared());
      return programs.get(programs.size() - 1);
    };
    shelf.bundles.get("alone").files.put("model.pte", "alone".getBytes(StandardCharsets.US_ASCII));
    shelf.bundles.get("alone").seal();
    File folder = Files.createTempDirectory("core").toFile();
    try (Catalog catalog = new Catalog(shelf, folder, null, loader)) {
      that(catalog.tasks().equals(Arrays.asList("alone", "one/first", "one/second", "two/first", "two/second")), "every task");
      refused("no task is loaded", () -> catalog.classify("film", null));
      for (int round = 0; round < 3; round++) {
        catalog.choose("one/first");
        that(catalog.classify("film", null).scores.get(0).label.equals("b"), "the first task's label");
        catalog.choose("one/second");
        that(catalog.classify("film", null).scores.get(0).label.equals("yes"), "the second task's label");
      }
      that(programs.size() == 1 && !programs.get(0).closed, "tasks of one bundle answer from one loaded program");
      refused("has no task `third`", () -> catalog.choose("one/third"));
      refused("no task is loaded", () -> catalog.classify("film", null));
      catalog.choose("one/first");
      that(programs.size() == 1, "a task that was refused leaves the program as it is");
      catalog.choose("alone");
      that(programs.size() == 2 && programs.get(0).closed, "one program at a time");
      that(catalog.classify("good film", null).scores.get(0).label.equals("good"), "a task with a program of its own");
      catalog.choose("two/first");
      refused("has digest", () -> catalog.choose("two/second"));
      refused("no task is loaded", () -> catalog.classify("film", null));
      refused("`manifest.json` is missing", () -> catalog.choose("none"));
      refused("no task is loaded", () -> catalog.classify("film", null));
    }
    for (Echo program : programs) that(program.closed, "every program is closed");
    Catalog empty = new Catalog(new Shelf(), folder, null, loader);
    that(empty.tasks().isEmpty(), "no bundles, no tasks");
    KeyPair ours = keys("secp256r1");
    Catalog strict = new Catalog(shelf, folder, ours.getPublic(), loader);
    refused("`manifest.sig` is missing", () -> strict.choose("alone"));
  }

  /** An app of another version comes to the folder where this one's copies stand. */
  private static void leftovers() throws Exception {
    Shelf old = new Shelf();
    byte[] second = taskFile("[\"yes\",\"no\"]", new float[] {4, 1}, LAYOUT, "", "");
    old.bundles.put("one", fleet(taskFile(LABELS, HEAD, LAYOUT, "", ""), second));
    old.bundles.put("alone", new Memory());
    old.bundles.get("alone").files.put("model.pte", "alone".getBytes(StandardCharsets.US_ASCII));
    old.bundles.get("alone").seal();
    File folder = Files.createTempDirectory("core").toFile();
    try (Catalog catalog = new Catalog(old, folder, null, file -> new Shared())) {
      catalog.choose("one/first");
      catalog.choose("one/second");
    }
    try (Catalog catalog = new Catalog(old, folder, null, file -> new Echo())) {
      catalog.choose("alone");
    }
    that(folder.list().length == 4, "two programs and two tasks are copied, and stay while their bundles are there");
    File foreign = new File(folder, "profile.pte");
    File partial = new File(folder, old.bundles.get("alone").digestOf("model.pte") + ".partial");
    that(foreign.createNewFile() && partial.createNewFile(), "a file of another name, and half a copy");
    Shelf later = new Shelf();
    later.bundles.put("alone", new Memory());
    later.bundles.get("alone").files.put("model.pte", "a later program".getBytes(StandardCharsets.US_ASCII));
    later.bundles.get("alone").seal();
    later.bundles.put("one", old.bundles.get("alone"));
    later.bundles.put("wrong", new Memory().sealWith("{}"));
    Catalog refusing = new Catalog(later, folder, null, file -> new Echo());
    refused("is not of format", () -> refusing.choose("wrong"));
    that(folder.list().length == 6, "a bundle that is refused removes nothing");
    try (Catalog catalog = new Catalog(later, folder, null, file -> new Echo())) {
      catalog.choose("alone");
    }
    String[] left = folder.list();
    Arrays.sort(left);
    String[] expected = {
      later.bundles.get("alone").digestOf("model.pte") + ".pte", later.bundles.get("one").digestOf("model.pte") + ".pte", "profile.pte"
    };
    Arrays.sort(expected);
    that(Arrays.equals(left, expected), "what a manifest lists, and what is no copy: " + Arrays.toString(left));
  }

  private static void alteredTasks() throws Exception {
    File folder = Files.createTempDirectory("core").toFile();
    byte[] good = taskFile(LABELS, HEAD, LAYOUT, "", "");
    String[][] changes = {
      {"\\\"" + BACKBONE + "\\\"", "\\\"" + OTHER_BACKBONE + "\\\"", "made for backbone `cdcd"},
      {"\\\"none\\\",\\\"problem", "\\\"int8\\\",\\\"problem", "made for quantization `int8`"},
      {"\\\"parents\\\":4", "\\\"parents\\\":64", "is 64, not within 1 and 16"},
      {"\\\"cells\\\":8", "\\\"cells\\\":9", "9 cells for 4 parents"},
      {"\\\"top_k\\\":2", "\\\"top_k\\\":3", "is not its memory's"},
      {"\"m.layout\"", "\"other\"", "the program takes `m.layout`"},
      {"\"shape\":[3],\"data_offsets\":[24", "\"shape\":[1,3],\"data_offsets\":[24", "the program takes `head`"},
      {"[24,36]", "[20,32]", "overlaps another"},
      {"[24,36]", "[24,37]", "overlaps another"},
      {"\"shape\":[3],\"data_offsets\":[24", "\"shape\":[461168601842738790],\"data_offsets\":[24", "a list of whole numbers from 1"},
      {"\"F32\"", "\"F99\"", "is of dtype `F99`"},
      {"\"F32\"", "\"I32\"", "the program takes `head` as F32"},
      {"\\\"b\\\"", "\\\"a\\\"", "or one twice"},
      {"spartanc-task", "another", "has the format `another`"},
      {"\\\"classification\\\"", "\\\"other\\\"", "has the problem `other`"},
    };
    for (String[] change : changes) {
      byte[] altered = taskFile(LABELS, HEAD, LAYOUT, change[0], change[1]);
      refused(change[2], () -> Bundle.open(fleet(altered, good), null).task("first", folder));
    }
    byte[] infinite = taskFile(LABELS, new float[] {1, Float.POSITIVE_INFINITY, 2}, LAYOUT, "Infinity", "1.0");
    refused("NaN or an infinite value", () -> Bundle.open(fleet(infinite, good), null).task("first", folder));
    for (int at = 0; at < good.length; at++) {
      byte[] flipped = good.clone();
      flipped[at] ^= (byte) (1 << at % 8);
      refused("", () -> Bundle.open(fleet(flipped, good), null).task("first", folder));
      byte[] shorter = Arrays.copyOf(good, at);
      refused("", () -> Bundle.open(fleet(shorter, good), null).task("first", folder));
    }
  }

  private static void signatures() throws Exception {
    KeyPair ours = keys("secp256r1");
    Memory signed = new Memory();
    refused("`manifest.sig` is missing", () -> Bundle.open(signed, ours.getPublic()));
    Signature signer = Signature.getInstance("SHA256withECDSA");
    signer.initSign(ours.getPrivate());
    signer.update(signed.files.get("manifest.json"));
    signed.files.put("manifest.sig", signer.sign());
    that(Bundle.open(signed, Signatures.publicKey(pem(ours))).task(null, null).labels.size() == 2, "a signed bundle");
    refused("is not signed with the key", () -> Bundle.open(signed, keys("secp256r1").getPublic()));
    Memory changed = new Memory();
    changed.files.put("manifest.sig", signed.files.get("manifest.sig"));
    changed.files.put("model.pte", "another program".getBytes(StandardCharsets.US_ASCII));
    changed.seal();
    refused("is not signed with the key", () -> Bundle.open(changed, ours.getPublic()));
    changed.files.put("manifest.sig", new byte[] {1, 2, 3});
    refused("signature can't be read", () -> Bundle.open(changed, ours.getPublic()));
    refused("is not of the curve P-256", () -> Signatures.publicKey(pem(keys("secp384r1"))));
    refused("is not a PEM file", () -> Signatures.publicKey("key"));
    refused("can't be read", () -> Signatures.publicKey(pem(ours).replace("M", "!")));
  }

  /** Bytes changed at random: without a new seal every one is refused, with one it may pass and must not crash. */
  private static void mutations() throws Exception {
    Random random = new Random(2211);
    for (int round = 0; round < 2000; round++) {
      Memory source = new Memory();
      List<String> names = source.names();
      String name = names.get(random.nextInt(names.size()));
      byte[] bytes = source.files.get(name).clone();
      for (int i = random.nextInt(4); i >= 0; i--) bytes[random.nextInt(bytes.length)] ^= (byte) (1 + random.nextInt(255));
      if (Arrays.equals(bytes, source.files.get(name))) continue;
      source.files.put(name, bytes);
      refused("", () -> Bundle.open(source, null));
      if (name.equals("manifest.json")) source.sealWith(new String(bytes, StandardCharsets.UTF_8));
      else source.seal();
      try {
        open(source).classify("good films", null);
      } catch (InputException e) {
        that(e.getMessage() != null, "a message");
      }
    }
  }

  private static Tokenizer tokenizer(String json) throws InputException {
    return Tokenizer.read(json.getBytes(StandardCharsets.UTF_8));
  }

  private static KeyPair keys(String curve) throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
    generator.initialize(new ECGenParameterSpec(curve));
    return generator.generateKeyPair();
  }

  private static String pem(KeyPair keys) {
    String body = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(keys.getPublic().getEncoded());
    return "-----BEGIN PUBLIC KEY-----\n" + body + "\n-----END PUBLIC KEY-----\n";
  }

  private static String sha(byte[] bytes) throws Exception {
    StringBuilder result = new StringBuilder();
    for (byte b : MessageDigest.getInstance("SHA-256").digest(bytes)) result.append(String.format("%02x", b));
    return result.toString();
  }
}
