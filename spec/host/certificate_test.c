/* Certificates of our own: what openssl thinks of them, and what is refused. */
#include <time.h>

#include "base/xalloc.h"
#include "http/certificate.h"
#include "test.h"

#define DAY 86400

static struct err e;

static struct certificate_set make(const char *const *names, int64_t from, int64_t to)
{
	struct certificate_set set;
	if (certificate_make(&(struct certificate_request){.subject = "moonphase webhook", .names = names, .not_before = from,
		.not_after = to}, &set, &e) != 0)
		FAIL("%s", e.text);
	return set;
}

static const char *const names[] = {"moonphase-webhook.hub.svc", "127.0.0.1", "::1", NULL};

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	CHECK(f != NULL);
	fputs(text, f);
	fclose(f);
}

TEST(openssl_verifies_what_was_made)
{
	int64_t now = time(NULL);
	struct certificate_set set = make(names, now - 60, now + DAY);
	char folder[] = "/tmp/moonphase-certificate-test-XXXXXX", path[100], command[900], line[200];
	CHECK(mkdtemp(folder) != NULL);
	const char *texts[][2] = {{"ca", set.authority}, {"crt", set.certificate}, {"key", set.key}};
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, texts[i][0]);
		write_file(path, texts[i][1]);
	}
	snprintf(command, sizeof command, "cd %s && openssl verify -x509_strict -purpose sslserver -verify_hostname moonphase-webhook.hub.svc "
		"-CAfile ca crt && openssl verify -purpose sslclient -CAfile ca crt && openssl x509 -in crt -noout -text | "
		"grep -c -e 'ASN1 OID: prime256v1' -e 'CA:FALSE' -e 'IP Address:127.0.0.1' -e 'TLS Web Server Authentication'", folder);
	FILE *f = popen(command, "r");
	CHECK(fgets(line, sizeof line, f) != NULL);
	CHECK_TEXT(line, "crt: OK\n");
	CHECK(fgets(line, sizeof line, f) != NULL);
	CHECK_TEXT(line, "crt: OK\n");
	CHECK(fgets(line, sizeof line, f) != NULL);
	CHECK_TEXT(line, "4\n");
	pclose(f);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	CHECK_INT(system(command), ==, 0);
	certificate_set_deinit(&set);
	CHECK(set.key == NULL);
}

TEST(a_certificate_is_checked_for_key_name_time_and_authority)
{
	struct certificate_set one = make(names, 1000000, 2000000), two = make(names, 1000000, 2000000);
	char *bundle = xasprintf("%s%s", two.authority, one.authority);
	for (int i = 0; names[i] != NULL; i++)
		CHECK_INT(certificate_check(one.certificate, one.key, bundle, names[i], 1500000, &e), ==, 0);
	CHECK_INT(certificate_check(one.certificate, one.key, NULL, NULL, 0, &e), ==, 0);
	static const struct { int64_t at; const char *name, *why; } bad[] = {
		{999999, NULL, "not valid yet"}, {2000001, NULL, "has expired"}, {1500000, "other.hub.svc", "is not for other.hub.svc"},
		{1500000, "127.0.0.2", "is not for 127.0.0.2"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		CHECK_INT(certificate_check(one.certificate, one.key, bundle, bad[i].name, bad[i].at, &e), ==, ERR_INVALID);
		CHECK_CONTAINS(e.text, bad[i].why);
	}
	CHECK_INT(certificate_check(one.certificate, two.key, bundle, NULL, 1500000, &e), ==, ERR_INVALID);
	CHECK_CONTAINS(e.text, "belongs to another certificate");
	CHECK_INT(certificate_check(one.certificate, one.key, two.authority, NULL, 1500000, &e), ==, ERR_INVALID);
	CHECK_CONTAINS(e.text, "no authority of the bundle stands for the certificate");
	/* the authority's own certificate is no server's */
	CHECK_INT(certificate_check(one.authority, one.key, NULL, NULL, 0, &e), ==, ERR_INVALID);
	free(bundle);
	certificate_set_deinit(&one);
	certificate_set_deinit(&two);
}

TEST(what_was_made_can_be_read_and_differs_each_time)
{
	struct certificate_set one = make(names, 1000000, 2000000), two = make(names, 900000, 1900000);
	struct certificate_info info, other;
	CHECK_INT(certificate_read(one.certificate, &info, &e), ==, 0);
	CHECK_INT(info.not_before, ==, 1000000);
	CHECK_INT(info.not_after, ==, 2000000);
	CHECK_INT(info.count, ==, 1);
	CHECK_INT(certificate_read(two.certificate, &other, &e), ==, 0);
	CHECK(strcmp(info.fingerprint, other.fingerprint) != 0);
	char *both = xasprintf("%s%s", one.certificate, two.certificate);
	CHECK_INT(certificate_read(both, &info, &e), ==, 0);
	CHECK_INT(info.count, ==, 2);
	CHECK_INT(info.not_before, ==, 1000000); /* the narrowest of both */
	CHECK_INT(info.not_after, ==, 1900000);
	free(both);
	certificate_set_deinit(&one);
	certificate_set_deinit(&two);
}

TEST(nonsense_is_refused_with_a_sentence)
{
	struct certificate_info info;
	struct certificate_set set;
	static const char *const texts[] = {"", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\n"};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		CHECK_INT(certificate_read(texts[i], &info, &e), ==, ERR_INVALID);
		CHECK_CONTAINS(e.text, "no certificate in PEM");
		CHECK_INT(certificate_check(texts[i], texts[i], texts[i], "a", 1, &e), ==, ERR_INVALID);
	}
	static const char *const smuggled[] = {"a,DNS:evil", NULL}, *const empty[] = {NULL}, *const blank[] = {"", NULL};
	const char *const *bad_names[] = {smuggled, empty, blank};
	for (size_t i = 0; i < 3; i++)
		CHECK_INT(certificate_make(&(struct certificate_request){.subject = "x", .names = bad_names[i], .not_after = 1}, &set, &e), ==,
			ERR_INVALID);
	CHECK_INT(certificate_make(&(struct certificate_request){.subject = "x\ny", .names = names, .not_after = 1}, &set, &e), ==, ERR_INVALID);
	CHECK_INT(certificate_make(&(struct certificate_request){.subject = "x", .names = names}, &set, &e), ==, ERR_INVALID);
	CHECK_CONTAINS(e.text, "must end after it begins");
}

TEST_MAIN(T(openssl_verifies_what_was_made), T(a_certificate_is_checked_for_key_name_time_and_authority),
	T(what_was_made_can_be_read_and_differs_each_time), T(nonsense_is_refused_with_a_sentence))
