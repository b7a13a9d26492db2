package org.spartanc.core;

import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;

/** ECDSA on the curve P-256 with SHA-256 over the bytes of the manifest; keys as PEM, signatures as DER. */
public final class Signatures {
  private static final String HEAD = "-----BEGIN PUBLIC KEY-----";
  private static final String TAIL = "-----END PUBLIC KEY-----";
  // RFC 5480: id-ecPublicKey on secp256r1, then the point as 4 and two numbers of 32 bytes: the one form that is taken.
  private static final String DER_HEAD = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
  private static final int DER_SIZE = 91;

  private Signatures() {}

  public static PublicKey publicKey(String pem) throws InputException {
    String text = pem.trim();
    if (!text.startsWith(HEAD) || !text.endsWith(TAIL)) throw new InputException("the public key is not a PEM file");
    String body = text.substring(HEAD.length(), text.length() - TAIL.length()).replaceAll("\\s", "");
    try {
      byte[] der = Base64.getDecoder().decode(body);
      if (der.length != DER_SIZE || !Digests.hex(der).startsWith(DER_HEAD)) {
        throw new InputException("the public key is not of the curve P-256");
      }
      return KeyFactory.getInstance("EC").generatePublic(new X509EncodedKeySpec(der));
    } catch (GeneralSecurityException | IllegalArgumentException e) {
      throw new InputException("the public key can't be read", e);
    }
  }

  static void check(byte[] manifest, byte[] signature, PublicKey key) throws InputException {
    boolean good;
    try {
      Signature verifier = Signature.getInstance("SHA256withECDSA");
      verifier.initVerify(key);
      verifier.update(manifest);
      good = verifier.verify(signature);
    } catch (GeneralSecurityException e) {
      throw new InputException("the bundle's signature can't be read", e);
    }
    if (!good) throw new InputException("the bundle is not signed with the key that this app asks for");
  }
}
