/* The hash table against a list that is searched from end to end. */
#include "test.h"

#include "base/map.h"

TEST(an_empty_map_has_nothing)
{
	struct map m = {0};
	size_t position = 0;
	CHECK(map_get(&m, "a") == NULL && !map_has(&m, "a") && map_remove(&m, "a") == NULL && map_next(&m, &position) == NULL);
	map_deinit(&m);
}

TEST(keys_are_copied_and_values_replaced)
{
	struct map m = {0};
	char key[] = "key";
	int one, two;
	CHECK(map_set(&m, key, &one) == NULL);
	key[0] = 'x';
	CHECK(map_get(&m, "key") == &one && map_get(&m, "xey") == NULL);
	CHECK(map_set(&m, "key", &two) == &one && m.count == 1);
	CHECK(map_remove(&m, "key") == &two && m.count == 0 && map_get(&m, "key") == NULL);
	map_deinit(&m);
}

TEST(a_key_with_a_null_value_is_there)
{
	struct map m = {0};
	map_set(&m, "", NULL);
	CHECK(map_has(&m, "") && map_get(&m, "") == NULL && m.count == 1);
	CHECK(map_remove(&m, "") == NULL && !map_has(&m, ""));
	map_deinit(&m);
}

#define KEYS 300

/* Few slots and many removals: the case in which closing gaps goes wrong. */
TEST(random_operations_give_what_a_plain_list_gives)
{
	struct map m = {0};
	void *model[KEYS] = {0};
	static int values[50];
	char key[20];
	size_t count = 0;
	srand(11);
	for (int round = 0; round < 300000; round++) {
		/* Waves: fill up, then thin out, so that every load and size is met. */
		size_t k = (size_t)rand() % KEYS;
		int action = rand() % 10, adds = round / 2000 % 2 ? 6 : 2;
		snprintf(key, sizeof key, "key-%zu", k);
		if (action < adds) {
			int *value = &values[rand() % 50];
			CHECK(map_set(&m, key, value) == model[k]);
			count += model[k] == NULL;
			model[k] = value;
		} else if (action < 8) {
			CHECK(map_remove(&m, key) == model[k]);
			count -= model[k] != NULL;
			model[k] = NULL;
		} else {
			CHECK(map_get(&m, key) == model[k] && map_has(&m, key) == (model[k] != NULL));
		}
		CHECK_INT(m.count, ==, count);
		if (round % 1000 == 0)
			for (size_t i = 0; i < KEYS; i++) {
				snprintf(key, sizeof key, "key-%zu", i);
				CHECK(map_get(&m, key) == model[i]);
			}
	}
	size_t seen = 0, position = 0;
	for (const struct map_slot *s; (s = map_next(&m, &position)) != NULL; seen++)
		CHECK(s->value != NULL && model[strtoul(s->key + 4, NULL, 10)] == s->value);
	CHECK_INT(seen, ==, count);
	map_deinit(&m);
	CHECK_INT(m.count, ==, 0);
}

TEST(hashes_depend_on_every_byte_and_repeat)
{
	CHECK(map_hash("abc", 3) == map_hash("abc", 3));
	CHECK(map_hash("abc", 3) != map_hash("abd", 3));
	CHECK(map_hash("abc", 3) != map_hash("abc", 2));
	CHECK(map_hash("a\0b", 3) != map_hash("a\0c", 3));
}

TEST_MAIN(T(an_empty_map_has_nothing), T(keys_are_copied_and_values_replaced), T(a_key_with_a_null_value_is_there),
	T(random_operations_give_what_a_plain_list_gives), T(hashes_depend_on_every_byte_and_repeat))
