import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.List;
import org.spartanc.core.Encoding;
import org.spartanc.core.InputException;
import org.spartanc.core.Json;
import org.spartanc.core.Tokenizer;

/** Encode TOKENIZER_JSON TEXTS OUT MAX_LENGTH: a line of ids for every line of TEXTS, each a JSON list of 1 or 2 texts. */
public final class Encode {
  private Encode() {}

  public static void main(String[] arguments) throws IOException, InputException {
    Tokenizer tokenizer = Tokenizer.read(Files.readAllBytes(Paths.get(arguments[0])));
    int maxLength = Integer.parseInt(arguments[3]);
    try (BufferedReader in = Files.newBufferedReader(Paths.get(arguments[1]), StandardCharsets.UTF_8);
        BufferedWriter out = Files.newBufferedWriter(Paths.get(arguments[2]), StandardCharsets.UTF_8)) {
      for (String line; (line = in.readLine()) != null; ) {
        List<?> texts = (List<?>) Json.parse(line, "a line of texts");
        Encoding encoding =
            tokenizer.encode((String) texts.get(0), texts.size() > 1 ? (String) texts.get(1) : null, maxLength);
        out.write(Arrays.toString(encoding.ids) + " " + encoding.truncated + "\n");
      }
    }
  }
}
