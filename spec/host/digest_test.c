/* SHA-256 as hex, and the hash of htpasswd files. */
#include "base/digest.h"
#include "test.h"

TEST(known_digests_are_right)
{
	char hex[DIGEST_HEX_SIZE];
	digest_sha256("", 0, hex);
	CHECK_TEXT(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_sha256(NULL, 0, hex);
	CHECK_TEXT(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	digest_sha256("abc", 3, hex);
	CHECK_TEXT(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void digest_of(const char *a, const char *b, char hex[DIGEST_HEX_SIZE])
{
	struct digest d;
	digest_begin(&d);
	digest_add_field(&d, a, strlen(a));
	digest_add_field(&d, b, strlen(b));
	digest_end(&d, hex);
}

TEST(fields_are_told_apart)
{
	char x[DIGEST_HEX_SIZE], y[DIGEST_HEX_SIZE], z[DIGEST_HEX_SIZE];
	digest_of("ab", "c", x);
	digest_of("a", "bc", y);
	digest_of("ab", "c", z);
	CHECK(strcmp(x, y) != 0);
	CHECK_TEXT(x, z);
	CHECK_INT(strlen(x), ==, 64);
}

/* As Python says: base64(sha1(b"s3cret" + salt) + salt). */
TEST(a_password_is_hashed_as_nginx_reads_it)
{
	static const unsigned char salt[DIGEST_SALT_SIZE] = {1, 2, 3, 4, 5, 6, 7, 255};
	char hash[DIGEST_SSHA_SIZE];
	digest_ssha("s3cret", 6, salt, hash);
	CHECK_TEXT(hash, "{SSHA}XSaJYyfxuw17wyFHL71u8p7XhKABAgMEBQYH/w==");
	digest_ssha(NULL, 0, salt, hash);
	CHECK_TEXT(hash, "{SSHA}m6YEAOq2K3rEHAWJjMof+lycPIEBAgMEBQYH/w==");
	CHECK_INT(strlen(hash), ==, DIGEST_SSHA_SIZE - 1);
}

TEST_MAIN(T(known_digests_are_right), T(fields_are_told_apart),
	T(a_password_is_hashed_as_nginx_reads_it))
